// What a fuzz target is: a function of some bytes that must return, whatever they are, with every `require`
// held. Each file beside this folder defines one:
//
//   RILL_FUZZ_TARGET(ltx) { ... uses `Bytes input` ... }
//
// With RILLFS_FUZZER it is libFuzzer's entry point. Without, it enters `targets()`, from which the unit test
// (tests/unit/fuzz/) replays all corpora with any compiler.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>

#include "replication/base/bytes.h"

namespace rillfs::fuzz {

using Target = void (*)(Bytes input);

inline std::map<std::string, Target>& targets() {
  static std::map<std::string, Target> all;
  return all;
}

inline bool register_target(const char* name, Target target) {
  return targets().emplace(name, target).second;
}

/// A property of the code under test. Ends the process: that is how libFuzzer hears of it.
inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: property does not hold: %s\n", property);
  std::abort();
}

}  // namespace rillfs::fuzz

#ifdef RILLFS_FUZZER
#define RILL_FUZZ_TARGET(name)                                                       \
  static void fuzz_##name(rillfs::Bytes input);                                      \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size); \
  int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {           \
    fuzz_##name({data, size});                                                       \
    return 0;                                                                        \
  }                                                                                  \
  static void fuzz_##name([[maybe_unused]] rillfs::Bytes input)
#else
#define RILL_FUZZ_TARGET(name)                                                                              \
  static void fuzz_##name(rillfs::Bytes input);                                                             \
  [[maybe_unused]] static const bool registered_##name = rillfs::fuzz::register_target(#name, fuzz_##name); \
  static void fuzz_##name([[maybe_unused]] rillfs::Bytes input)
#endif
