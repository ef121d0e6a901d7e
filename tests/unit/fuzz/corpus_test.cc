// Goal: what the fuzzers have found stays found, and their properties hold, with any compiler.
// Method: every kept input through the targets of tests/fuzz, as libFuzzer would call them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "support/target.h"

namespace rillfs::fuzz {
namespace {

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& [name, target] : targets()) all.push_back(name);
  return all;
}

class FuzzCorpusTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FuzzCorpusTest, EveryKeptInputIsHandled) {
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(RILLFS_FUZZ_CORPUS "/" + GetParam())) {
    SCOPED_TRACE(entry.path());
    std::ifstream in(entry.path(), std::ios::binary);
    const Buffer bytes(std::istreambuf_iterator<char>(in), {});
    targets().at(GetParam())(bytes);
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
  targets().at(GetParam())({});
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzCorpusTest, ::testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace rillfs::fuzz
