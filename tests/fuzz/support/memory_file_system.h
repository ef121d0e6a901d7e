// A file system in memory: fast enough for a hundred thousand tries a second. Directories are names that
// something is below of, or that were made. A removed or renamed file lives on for those who have it open.
// Threads: one.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "replication/base/file_system.h"

namespace rillfs::fuzz {

class MemoryFile final : public File {
 public:
  explicit MemoryFile(std::shared_ptr<Buffer> content) : content_(std::move(content)) {}
  Result<std::size_t> read_at(MutableBytes into, std::uint64_t offset, Label) override {
    if (offset >= content_->size()) return std::size_t{0};
    std::size_t size = std::min<std::size_t>(into.size(), content_->size() - offset);
    std::copy_n(content_->begin() + static_cast<std::ptrdiff_t>(offset), size, into.begin());
    return size;
  }
  Result<void> write_at(Bytes bytes, std::uint64_t offset, Label label) override {
    RILL_TRY(check_size(offset, bytes.size(), label));
    if (content_->size() < offset + bytes.size()) content_->resize(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), content_->begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
  }
  Result<void> truncate(std::uint64_t size, Label label) override {
    RILL_TRY(check_size(0, size, label));
    content_->resize(size);
    return {};
  }
  Result<std::uint64_t> size(Label) override { return std::uint64_t{content_->size()}; }
  Result<void> sync_data(Label) override { return {}; }

 private:
  /// The disk is small, so that a target's memory stays bounded by what is under test.
  static Result<void> check_size(std::uint64_t offset, std::uint64_t size, Label label) {
    constexpr std::uint64_t kSizeMax = 16 << 20;
    if (offset > kSizeMax || size > kSizeMax - offset) return errno_error(ENOSPC, label);
    return {};
  }
  std::shared_ptr<Buffer> content_;
};

class MemoryFileSystem final : public FileSystem {
 public:
  void put(const std::string& path, Bytes content) {
    files_[path] = std::make_shared<Buffer>(content.begin(), content.end());
  }
  std::map<std::string, Buffer> contents() const {
    std::map<std::string, Buffer> all;
    for (const auto& [path, content] : files_) all[path] = *content;
    return all;
  }

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode, Label label) override {
    auto at = files_.find(path);
    const bool there = at != files_.end();
    if (there && mode == OpenMode::kCreateNew) return errno_error(EEXIST, label);
    if (!there && mode != OpenMode::kCreate && mode != OpenMode::kCreateNew)
      return errno_error(ENOENT, label);
    if (!there) at = files_.emplace(path, std::make_shared<Buffer>()).first;
    return std::unique_ptr<File>(std::make_unique<MemoryFile>(at->second));
  }
  Result<std::unique_ptr<File>> open_unnamed(const std::string&, Label) override {
    return std::unique_ptr<File>(std::make_unique<MemoryFile>(std::make_shared<Buffer>()));
  }
  Result<void> rename(const std::string& from, const std::string& to, Label label) override {
    auto at = files_.find(from);
    if (at == files_.end()) return errno_error(ENOENT, label);
    auto content = at->second;
    files_.erase(at);
    files_[to] = std::move(content);
    return {};
  }
  Result<void> remove(const std::string& path, Label label) override {
    if (files_.erase(path) + directories_.erase(path) == 0) return errno_error(ENOENT, label);
    return {};
  }
  Result<void> make_directories(const std::string& path, Label) override {
    directories_.insert(path);
    return {};
  }
  Result<std::vector<DirectoryEntry>> list(const std::string& path, Label) override {
    std::vector<DirectoryEntry> entries;
    for (const auto& [name, content] : files_) {
      if (name.starts_with(path + "/") && name.find('/', path.size() + 1) == std::string::npos)
        entries.push_back({name.substr(path.size() + 1), false});
    }
    return entries;
  }
  Result<void> sync_directory(const std::string&, Label) override { return {}; }
  Result<bool> exists(const std::string& path, Label) override {
    return files_.contains(path) || directories_.contains(path);
  }

 private:
  std::map<std::string, std::shared_ptr<Buffer>> files_;
  std::set<std::string> directories_;
};

}  // namespace rillfs::fuzz
