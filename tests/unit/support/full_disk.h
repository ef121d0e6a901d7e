// A file system that has no room from some point on: writes beyond a file's end, and new files and
// directories, fail with ENOSPC until there is room again. What is there can be written over, cut and
// removed, as on a real disk. Threads: any.
#pragma once

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>

#include "replication/base/file_system.h"

namespace rillfs::test {

class FullDisk final : public FileSystem {
 public:
  explicit FullDisk(FileSystem& below) : below_(below) {}

  /// So many more times something finds room.
  void fill_after(int times) { room_ = times; }
  void free() { room_ = kPlenty; }

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode, Label label) override {
    RILL_ASSIGN(bool exists, below_.exists(path, label));
    if (!exists && mode != OpenMode::kRead && mode != OpenMode::kReadWrite) RILL_TRY(take_room(label));
    RILL_ASSIGN(auto file, below_.open(path, mode, label));
    return std::unique_ptr<File>(std::make_unique<FileOnIt>(*this, std::move(file)));
  }
  Result<std::unique_ptr<File>> open_unnamed(const std::string& directory, Label label) override {
    RILL_TRY(take_room(label));
    RILL_ASSIGN(auto file, below_.open_unnamed(directory, label));
    return std::unique_ptr<File>(std::make_unique<FileOnIt>(*this, std::move(file)));
  }
  Result<void> rename(const std::string& from, const std::string& to, Label label) override {
    return below_.rename(from, to, label);
  }
  Result<void> remove(const std::string& path, Label label) override { return below_.remove(path, label); }
  Result<void> make_directories(const std::string& path, Label label) override {
    RILL_ASSIGN(bool exists, below_.exists(path, label));
    if (!exists) RILL_TRY(take_room(label));
    return below_.make_directories(path, label);
  }
  Result<std::vector<DirectoryEntry>> list(const std::string& path, Label label) override {
    return below_.list(path, label);
  }
  Result<void> sync_directory(const std::string&, Label) override { return {}; }
  Result<bool> exists(const std::string& path, Label label) override { return below_.exists(path, label); }

 private:
  static constexpr int kPlenty = 1 << 30;

  class FileOnIt final : public File {
   public:
    FileOnIt(FullDisk& disk, std::unique_ptr<File> below) : disk_(disk), below_(std::move(below)) {}
    Result<std::size_t> read_at(MutableBytes into, std::uint64_t offset, Label label) override {
      return below_->read_at(into, offset, label);
    }
    Result<void> write_at(Bytes bytes, std::uint64_t offset, Label label) override {
      RILL_ASSIGN(std::uint64_t size, below_->size(label));
      if (offset + bytes.size() > size) RILL_TRY(disk_.take_room(label));
      return below_->write_at(bytes, offset, label);
    }
    Result<void> truncate(std::uint64_t size, Label label) override { return below_->truncate(size, label); }
    Result<std::uint64_t> size(Label label) override { return below_->size(label); }
    Result<void> sync_data(Label) override { return {}; }

   private:
    FullDisk& disk_;
    std::unique_ptr<File> below_;
  };

  Result<void> take_room(Label label) {
    if (room_.load() >= kPlenty || room_.fetch_sub(1) > 0) return {};
    room_ = 0;
    return errno_error(ENOSPC, std::string(label) + " (full disk)");
  }

  FileSystem& below_;
  std::atomic<int> room_ = kPlenty;
};

}  // namespace rillfs::test
