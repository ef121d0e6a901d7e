// A disk of the simulation: what a file system promises, and no more.
//
// A write is on the disk once its file has been synced, a name once its directory has been. When the power
// fails, each sector of what was not synced is there or not, each directory has any number of its last
// changes, in order, and a file is as long as one of its writes has made it. When only the process dies,
// nothing is lost.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "replication/base/file_system.h"
#include "replication/base/random.h"

namespace rillfs::simulation {

class Disk final : public FileSystem {
 public:
  explicit Disk(Random& random) : random_(random) {}

  /// Every call fails from now on: the process is dead.
  void stop() { stopped_ = true; }
  /// The next process can use it. `power_cut`: what was not synced may be lost.
  void start(bool power_cut);
  /// A disk that lies: syncs of files whose path has this in it do nothing.
  void lie_about(std::string part) { lies_about_ = std::move(part); }
  /// One write in so many finds no room; 0: none.
  void no_room_once_in(std::uint32_t writes) { no_room_once_in_ = writes; }

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode, Label label) override;
  Result<std::unique_ptr<File>> open_unnamed(const std::string& directory, Label label) override;
  Result<void> rename(const std::string& from, const std::string& to, Label label) override;
  Result<void> remove(const std::string& path, Label label) override;
  Result<void> make_directories(const std::string& path, Label label) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& path, Label label) override;
  Result<void> sync_directory(const std::string& path, Label label) override;
  Result<bool> exists(const std::string& path, Label label) override;

 private:
  class Handle;
  struct Change {
    std::uint64_t offset = 0;  ///< of a write; of a truncation, the new size
    Buffer bytes;
    bool truncates = false;
  };
  struct Inode {
    Buffer content;               ///< as the process sees it
    Buffer durable;               ///< as of the last sync
    std::vector<Change> pending;  ///< since
    std::string path;             ///< when it was opened, for lie_about
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  /// One step of a directory: names that get a file, or lose it (null).
  using Step = std::vector<std::pair<std::string, std::shared_ptr<Inode>>>;

  Result<void> usable(Label label) const;
  void change_names(const std::string& directory, Step step);
  static void take(Names& names, const Step& step);
  void lose_unsynced(Inode& inode);
  void write_sectors(Buffer& content, const Change& change);
  bool is_directory(const std::string& path) const { return directories_.contains(path); }

  Random& random_;
  bool stopped_ = false;
  std::string lies_about_;
  std::uint32_t no_room_once_in_ = 0;
  std::uint32_t survives_in_8_ = 0;  ///< of a cut: how likely a sector is there
  Names names_;
  Names durable_names_;
  std::map<std::string, std::vector<Step>> pending_steps_;  ///< by directory
  std::set<std::string> directories_;
};

}  // namespace rillfs::simulation
