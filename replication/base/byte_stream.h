// Sequential bytes: where an encoder puts its output and a decoder takes its input.
#pragma once

#include <algorithm>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/file_system.h"

namespace rillfs {

/// Takes bytes in order. Threads: one at a time. After an error nothing more is written.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Result<void> write(Bytes bytes) = 0;
};

/// Gives bytes in order. Threads: one at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Reads 1 to `into.size()` bytes; 0 only at the end (or for an empty `into`).
  virtual Result<std::size_t> read(MutableBytes into) = 0;
};

/// Appends to a buffer, which must outlive it.
class BufferSink final : public ByteSink {
 public:
  explicit BufferSink(Buffer& buffer) : buffer_(buffer) {}
  Result<void> write(Bytes bytes) override {
    append_bytes(buffer_, bytes);
    return {};
  }

 private:
  Buffer& buffer_;
};

/// Reads from memory, which must outlive it.
class BufferSource final : public ByteSource {
 public:
  explicit BufferSource(Bytes bytes) : rest_(bytes) {}
  Result<std::size_t> read(MutableBytes into) override {
    std::size_t size = std::min(into.size(), rest_.size());
    std::copy_n(rest_.begin(), size, into.begin());
    rest_ = rest_.subspan(size);
    return size;
  }

 private:
  Bytes rest_;
};

/// Reads `size` bytes of a file from `offset`. The file must outlive it and belong to the thread's
/// descriptor table. A file that is shorter ends early; the decoder notices.
class FileSource final : public ByteSource {
 public:
  FileSource(File& file, std::uint64_t offset, std::uint64_t size, Label label)
      : file_(file), offset_(offset), rest_(size), label_(label) {}
  Result<std::size_t> read(MutableBytes into) override {
    into = into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), rest_)));
    RILL_ASSIGN(std::size_t size, file_.read_at(into, offset_, label_));
    offset_ += size;
    rest_ -= size;
    return size;
  }

 private:
  File& file_;
  std::uint64_t offset_;
  std::uint64_t rest_;
  Label label_;
};

}  // namespace rillfs
