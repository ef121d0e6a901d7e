// LZ4 frames (the format of the lz4 tool), decompressed piece by piece.
#pragma once

#include <lz4frame.h>

#include "replication/base/bytes.h"
#include "replication/base/error.h"

namespace rillfs::ltx {

class FrameReader {
 public:
  FrameReader() { LZ4F_createDecompressionContext(&context_, LZ4F_VERSION); }
  ~FrameReader() { LZ4F_freeDecompressionContext(context_); }
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  struct Step {
    std::size_t consumed = 0;
    std::size_t produced = 0;
  };
  /// Takes some of `input`, writes some of `output`. kCorrupt for what is not an LZ4 frame.
  Result<Step> step(Bytes input, MutableBytes output);
  /// The last step reached the end of the frame.
  bool ended() const { return ended_; }

 private:
  LZ4F_dctx* context_ = nullptr;
  bool ended_ = false;
};

}  // namespace rillfs::ltx
