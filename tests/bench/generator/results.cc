#include "tests/bench/generator/results.h"

#include <algorithm>

namespace rillfs::bench {

void Results::add(const Results& other) {
  for (std::size_t i = 0; i < kKinds; ++i) {
    kinds[i].latency.add(other.kinds[i].latency);
    kinds[i].service.add(other.kinds[i].service);
  }
  locked += other.locked;
  not_started += other.not_started;
  begin_ns = begin_ns == 0 ? other.begin_ns : std::min(begin_ns, other.begin_ns);
  end_ns = std::max(end_ns, other.end_ns);
}

std::uint64_t Results::transactions() const {
  std::uint64_t sum = 0;
  for (const Measured& kind : kinds) sum += kind.service.count();
  return sum;
}

}  // namespace rillfs::bench
