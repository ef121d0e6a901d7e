#include "simulation/disk.h"

#include <algorithm>
#include <cerrno>

namespace rillfs::simulation {
namespace {

constexpr std::size_t kSector = 512;

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

void put(Buffer& content, Bytes bytes, std::uint64_t offset) {
  content.resize(std::max<std::size_t>(content.size(), offset + bytes.size()));
  std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace

class Disk::Handle final : public File {
 public:
  Handle(Disk& disk, std::shared_ptr<Inode> inode) : disk_(disk), inode_(std::move(inode)) {}

  Result<std::size_t> read_at(MutableBytes into, std::uint64_t offset, Label label) override {
    RILL_TRY(disk_.usable(label));
    const Bytes content = inode_->content;
    if (offset >= content.size()) return std::size_t{0};
    const std::size_t size = std::min(into.size(), content.size() - static_cast<std::size_t>(offset));
    std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(offset), size, into.begin());
    return size;
  }
  Result<void> write_at(Bytes bytes, std::uint64_t offset, Label label) override {
    RILL_TRY(disk_.usable(label));
    const bool no_room = disk_.no_room_once_in_ != 0 && disk_.random_.next() % disk_.no_room_once_in_ == 0;
    if (no_room) bytes = bytes.first(bytes.size() / 2);
    put(inode_->content, bytes, offset);
    inode_->pending.push_back({offset, Buffer(bytes.begin(), bytes.end()), false});
    if (no_room) return errno_error(ENOSPC, label);
    return {};
  }
  Result<void> truncate(std::uint64_t size, Label label) override {
    RILL_TRY(disk_.usable(label));
    inode_->content.resize(size);
    inode_->pending.push_back({size, {}, true});
    return {};
  }
  Result<std::uint64_t> size(Label label) override {
    RILL_TRY(disk_.usable(label));
    return std::uint64_t{inode_->content.size()};
  }
  Result<void> sync_data(Label label) override {
    RILL_TRY(disk_.usable(label));
    if (!disk_.lies_about_.empty() && inode_->path.find(disk_.lies_about_) != std::string::npos) return {};
    inode_->durable = inode_->content;
    inode_->pending.clear();
    return {};
  }

 private:
  Disk& disk_;
  const std::shared_ptr<Inode> inode_;
};

Result<void> Disk::usable(Label label) const {
  if (stopped_) return errno_error(EIO, std::string(label) + ": the node is dead");
  return {};
}

Result<std::unique_ptr<File>> Disk::open(const std::string& path, OpenMode mode, Label label) {
  RILL_TRY(usable(label));
  auto found = names_.find(path);
  const bool creates = mode == OpenMode::kCreate || mode == OpenMode::kCreateNew;
  if (found != names_.end() && mode == OpenMode::kCreateNew) return errno_error(EEXIST, path);
  if (found == names_.end()) {
    if (!creates || !is_directory(parent_of(path))) return errno_error(ENOENT, path);
    auto inode = std::make_shared<Inode>();
    inode->path = path;
    change_names(parent_of(path), {{path, inode}});
    found = names_.find(path);
  }
  return std::unique_ptr<File>(std::make_unique<Handle>(*this, found->second));
}

Result<std::unique_ptr<File>> Disk::open_unnamed(const std::string& directory, Label label) {
  RILL_TRY(usable(label));
  auto inode = std::make_shared<Inode>();
  inode->path = directory;
  return std::unique_ptr<File>(std::make_unique<Handle>(*this, std::move(inode)));
}

Result<void> Disk::rename(const std::string& from, const std::string& to, Label label) {
  RILL_TRY(usable(label));
  auto found = names_.find(from);
  if (found == names_.end()) return errno_error(ENOENT, from);
  change_names(parent_of(to), {{from, nullptr}, {to, found->second}});
  return {};
}

Result<void> Disk::remove(const std::string& path, Label label) {
  RILL_TRY(usable(label));
  if (directories_.erase(path) != 0) return {};
  if (!names_.contains(path)) return errno_error(ENOENT, path);
  change_names(parent_of(path), {{path, nullptr}});
  return {};
}

Result<void> Disk::make_directories(const std::string& path, Label label) {
  RILL_TRY(usable(label));
  for (std::string at = path; !at.empty(); at = parent_of(at)) directories_.insert(at);
  return {};
}

Result<std::vector<DirectoryEntry>> Disk::list(const std::string& path, Label label) {
  RILL_TRY(usable(label));
  if (!is_directory(path)) return errno_error(ENOENT, path);
  std::vector<DirectoryEntry> entries;
  const std::string prefix = path + "/";
  auto add = [&](const std::string& name, bool directory) {
    if (name.starts_with(prefix) && name.find('/', prefix.size()) == std::string::npos)
      entries.push_back({name.substr(prefix.size()), directory});
  };
  for (const auto& [name, inode] : names_) add(name, false);
  for (const std::string& name : directories_) add(name, true);
  return entries;
}

Result<void> Disk::sync_directory(const std::string& path, Label label) {
  RILL_TRY(usable(label));
  for (const Step& step : pending_steps_[path]) take(durable_names_, step);
  pending_steps_.erase(path);
  return {};
}

Result<bool> Disk::exists(const std::string& path, Label label) {
  RILL_TRY(usable(label));
  return names_.contains(path) || is_directory(path);
}

void Disk::take(Names& names, const Step& step) {
  for (const auto& [name, inode] : step) {
    if (inode) {
      names[name] = inode;
    } else {
      names.erase(name);
    }
  }
}

void Disk::change_names(const std::string& directory, Step step) {
  take(names_, step);
  pending_steps_[directory].push_back(std::move(step));
}

void Disk::start(bool power_cut) {
  stopped_ = false;
  if (!power_cut) return;
  static constexpr std::uint32_t kChances[] = {0, 4, 7, 8};
  survives_in_8_ = kChances[random_.next() % std::size(kChances)];
  for (const auto& [directory, steps] : pending_steps_) {
    const std::size_t there = random_.next() % (steps.size() + 1);
    for (std::size_t i = 0; i < there; ++i) take(durable_names_, steps[i]);
  }
  pending_steps_.clear();
  names_ = durable_names_;
  for (auto& [name, inode] : names_) {
    lose_unsynced(*inode);
    // What is in a directory that was removed keeps it.
    for (std::string at = parent_of(name); !at.empty(); at = parent_of(at)) directories_.insert(at);
  }
}

void Disk::lose_unsynced(Inode& inode) {
  Buffer content = inode.durable;
  for (const Change& change : inode.pending) {
    if (!change.truncates) {
      write_sectors(content, change);
    } else if (random_.next() % 8 < survives_in_8_) {
      content.resize(change.offset);
    }
  }
  inode.pending.clear();
  inode.content = inode.durable = std::move(content);
}

void Disk::write_sectors(Buffer& content, const Change& change) {
  const std::uint64_t end = change.offset + change.bytes.size();
  for (std::uint64_t at = change.offset; at < end;) {
    const std::uint64_t next = std::min<std::uint64_t>(end, (at / kSector + 1) * kSector);
    if (random_.next() % 8 < survives_in_8_)
      put(content, Bytes(change.bytes).subspan(at - change.offset, next - at), at);
    at = next;
  }
}

}  // namespace rillfs::simulation
