#include "fs/replay_base.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "fs/json_file.h"
#include "replication/base/bytes.h"
#include "replication/base/failpoint.h"
#include "replication/ltx/checksum.h"
#include "replication/ltx/header.h"

namespace rillfs {
namespace {

constexpr std::size_t kHeaderSize = 40;
constexpr std::uint64_t kMagic = 0x52494c4c43524331;  // "RILLCRC1"
constexpr std::size_t kBaseJsonSizeMax = 4096;
constexpr Label kLoad = "recovery: read base";
constexpr Label kSave = "base: record";

nlohmann::json to_json(const Position& position) {
  return {{"epoch", position.epoch.value},
          {"txid", to_hex(position.txid.value)},
          {"checksum", to_hex(position.checksum.value)}};
}

Result<Position> parse_position(const nlohmann::json& json) {
  const bool complete = json.is_object() && json.contains("txid") && json["txid"].is_string() &&
                        json.contains("checksum") && json["checksum"].is_string() && json.contains("epoch") &&
                        json["epoch"].is_number_unsigned();
  if (!complete) return make_error(ErrorCode::kCorrupt, "position is not readable");
  auto txid = from_hex(json.value("txid", ""));
  auto checksum = from_hex(json.value("checksum", ""));
  if (!txid || !checksum) return make_error(ErrorCode::kCorrupt, "position is not readable");
  return Position{Epoch{json.value("epoch", std::uint64_t{0})}, Txid{*txid}, Checksum{*checksum}};
}

Result<ReplayBase> parse_base(Bytes text) {
  auto json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object() || !json.contains("base") || !json.contains("sums_at")) {
    return make_error(ErrorCode::kCorrupt, "not a base record");
  }
  ReplayBase base;
  RILL_ASSIGN(base.position, parse_position(json["base"]));
  RILL_ASSIGN(base.sums_at, parse_position(json["sums_at"]));
  if (!json.contains("page_size") || !json["page_size"].is_number_unsigned())
    return make_error(ErrorCode::kCorrupt, "no page size");
  const auto page_size = json["page_size"].get<std::uint64_t>();
  const bool sensible = page_size == 0 ? base.sums_at.txid.value == 0
                                       : page_size <= ltx::kPageSizeMax && page_size >= ltx::kPageSizeMin &&
                                             std::has_single_bit(page_size);
  if (!sensible) return make_error(ErrorCode::kCorrupt, "no page size: " + std::to_string(page_size));
  if (base.sums_at.txid < base.position.txid)
    return make_error(ErrorCode::kCorrupt, "sums_at is before base");
  base.page_size = static_cast<std::uint32_t>(page_size);
  return base;
}

std::string sums_path(const std::string& directory, const Position& at) {
  return directory + "/pages-" + to_hex(at.txid.value) + ".crc";
}

/// What is wrong, and what to do: for a file of a database's directory.
Error damaged(const std::string& path, const std::string& what) {
  return make_error(ErrorCode::kCorrupt,
                    path + " " + what + ". Check the disk; restore the database's directory from a backup");
}

/// The header against the base and against the file's size, before anything is allocated for what it says.
Result<std::uint32_t> check_sums_header(Bytes header, std::uint64_t size, const std::string& path,
                                        const ReplayBase& base) {
  if (load_be<std::uint64_t>(header.data()) != kMagic) return damaged(path, "is not a page checksum file");
  const auto count = load_be<std::uint32_t>(header.data() + 28);
  if (size != kHeaderSize + std::uint64_t{count} * 8)
    return damaged(path, "has " + std::to_string(size) + " bytes and says that it has " +
                             std::to_string(count) + " page checksums");
  if (load_be<std::uint64_t>(header.data() + 8) != base.sums_at.txid.value ||
      load_be<std::uint32_t>(header.data() + 24) != base.page_size)
    return damaged(path, "does not belong to base.json");
  return count;
}

Result<Content> load_sums(FileSystem& files, const std::string& path, const ReplayBase& base) {
  RILL_ASSIGN(auto file, files.open(path, OpenMode::kRead, kLoad));
  RILL_ASSIGN(const std::uint64_t size, file->size(kLoad));
  std::uint8_t header[kHeaderSize];
  if (size < kHeaderSize) return damaged(path, "is shorter than its header");
  RILL_TRY(file->read_exact_at(header, 0, kLoad));
  RILL_ASSIGN(const std::uint32_t count, check_sums_header(header, size, path, base));
  std::vector<std::uint64_t> sums;
  sums.reserve(count);  // as many as the file has bytes for
  Checksum rolling = Checksum::empty();
  ltx::Crc64 crc;
  Buffer chunk(std::size_t{1} << 20);
  for (std::uint64_t offset = kHeaderSize; offset < size; offset += chunk.size()) {
    const MutableBytes part = MutableBytes(chunk).first(std::min<std::uint64_t>(chunk.size(), size - offset));
    RILL_TRY(file->read_exact_at(part, offset, kLoad));
    crc.update(part);
    for (std::size_t at = 0; at < part.size(); at += 8) {
      sums.push_back(load_be<std::uint64_t>(&part[at]));
      if (sums.back() != 0) rolling = rolling.toggled(Checksum{sums.back()});
    }
  }
  if (crc.value() != load_be<std::uint64_t>(header + 32))
    return damaged(path, "does not verify: its checksum is wrong");
  if (rolling != base.sums_at.checksum)
    return damaged(path, "does not sum up to the checksum of its position");
  return Content(base.sums_at, base.page_size, std::move(sums));
}

/// Page checksums of earlier bases are garbage once base.json names newer ones.
Result<void> remove_stale_sums(FileSystem& files, const std::string& directory, const Position& at) {
  RILL_ASSIGN(auto entries, files.list(directory, kSave));
  for (const DirectoryEntry& entry : entries) {
    const std::string path = directory + "/" + entry.name;
    if (entry.name.starts_with("pages-") && path != sums_path(directory, at))
      RILL_TRY(files.remove(path, kSave));
  }
  return {};
}

}  // namespace

Result<StoredBase> load_base(FileSystem& files, const std::string& directory) {
  RILL_ASSIGN(Buffer text, read_file(files, directory + "/base.json", kBaseJsonSizeMax, kLoad));
  auto base = parse_base(text);
  if (!base) return damaged(directory + "/base.json", "cannot be understood: " + base.error().message);
  if (base->sums_at.txid.value == 0) return StoredBase{*base, Content{}};
  RILL_ASSIGN(Content content, load_sums(files, sums_path(directory, base->sums_at), *base));
  return StoredBase{*base, std::move(content)};
}

Result<void> save_base(FileSystem& files, const std::string& directory, const Position& position,
                       const Content& content) {
  const Position& at = content.position();
  failpoint::reach("base.before_sums");
  if (at.txid.value != 0) {
    Buffer bytes(kHeaderSize + content.sums().size() * 8);
    std::uint8_t* to = bytes.data() + kHeaderSize;
    for (std::uint64_t sum : content.sums()) {
      store_be(to, sum);
      to += 8;
    }
    ltx::Crc64 crc;
    crc.update(Bytes(bytes).subspan(kHeaderSize));
    store_be(bytes.data(), kMagic);
    store_be(bytes.data() + 8, at.txid.value);
    store_be(bytes.data() + 16, at.checksum.value);
    store_be(bytes.data() + 24, content.page_size());
    store_be(bytes.data() + 28, content.page_count().value);
    store_be(bytes.data() + 32, crc.value());
    RILL_TRY(replace_file(files, sums_path(directory, at), bytes, kSave));
  }
  nlohmann::json json{
      {"base", to_json(position)}, {"sums_at", to_json(at)}, {"page_size", content.page_size()}};
  failpoint::reach("base.before_record");
  RILL_TRY(save_json(files, directory + "/base.json", json, kSave));
  failpoint::reach("base.before_stale_sums");
  return remove_stale_sums(files, directory, at);
}

}  // namespace rillfs
