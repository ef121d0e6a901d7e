// Change sets that follow each other, merged into one: each page once, as the last of them has it.
//
// A replica that is behind makes several change sets visible at a time: under one round of locks, with one
// write for a page that all of them changed. Readers see them appear at once, which is a state that the
// primary had.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fs/apply/page_source.h"
#include "replication/log/segment.h"

namespace rillfs::apply {

/// Threads: one. Memory: kBytesMax of pages, and as much again while a change set is read.
class MergedChangeSets final : public PageSource {
 public:
  static constexpr std::size_t kBytesMax = std::size_t{4} << 20;
  /// Bounds how long readers wait for the first of them.
  static constexpr std::size_t kCountMax = 1024;

  /// Takes the change set that `record` describes, the successor of the last one. False, and nothing of it is
  /// taken, if it does not fit: it is large, or one that cannot be merged. On an error nothing is taken
  /// either.
  Result<bool> add(PageSource& pages, const log::RecordInfo& record);
  void clear();
  bool empty() const { return count_ == 0; }
  std::size_t count() const { return count_; }  ///< change sets
  /// What the last one leads to. Not when it is empty.
  const log::RecordInfo& last() const { return last_; }

  /// The next call of next() gives the first page.
  void rewind();
  Result<std::optional<Page>> next() override;

 private:
  bool fits(const log::RecordInfo& record) const;
  /// Its pages behind those that are here. False: too many.
  Result<bool> read(PageSource& pages, const log::RecordInfo& record, std::vector<Pgno>& pgnos);
  void take(const std::vector<Pgno>& pgnos);
  std::uint8_t* slot(std::size_t number) { return bytes_.data() + number * page_size_; }

  std::uint32_t page_size_ = 0;
  std::size_t count_ = 0;
  log::RecordInfo last_;
  Buffer bytes_;  ///< pages, in slots
  std::unordered_map<Pgno, std::size_t> slots_;
  std::vector<Pgno> order_;  ///< ascending, as next() gives them
  std::size_t given_ = 0;
};

}  // namespace rillfs::apply
