// bench_load: puts load on SQLite databases and measures it. See measurements.h; run.sh calls it.
#include <cstdio>
#include <cstring>

#include "tests/bench/measurements.h"

int main(int argc, char** argv) {
  using namespace rillfs::bench;
  const struct {
    const char* name;
    std::size_t words_min;
    int (*run)(const Words&);
  } commands[] = {
      {"fill", 3, fill}, {"compare", 4, compare}, {"visible", 5, visible}, {"requests", 4, requests}};
  const Words words(argv + (argc > 2 ? 2 : argc), argv + argc);
  for (const auto& command : commands) {
    if (argc > 1 && std::strcmp(argv[1], command.name) == 0 && words.size() >= command.words_min)
      return command.run(words);
  }
  std::fprintf(stderr, "usage: bench_load fill|compare|visible|requests ..., see measurements.h\n");
  return 2;
}
