#include "replication/ltx/frame_reader.h"

namespace rillfs::ltx {

Result<FrameReader::Step> FrameReader::step(Bytes input, MutableBytes output) {
  if (!context_) return make_error(ErrorCode::kIo, "LTX: no memory for LZ4");
  std::size_t consumed = input.size(), produced = output.size();
  std::size_t hint = LZ4F_decompress(context_, output.data(), &produced, input.data(), &consumed, nullptr);
  if (LZ4F_isError(hint)) {
    return make_error(ErrorCode::kCorrupt, std::string("LTX: LZ4 frame: ") + LZ4F_getErrorName(hint));
  }
  ended_ = hint == 0;
  return Step{consumed, produced};
}

}  // namespace rillfs::ltx
