#include "tests/bench/generator/report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace rillfs::bench {
namespace {

using nlohmann::json;

double us(std::int64_t ns) { return static_cast<double>(ns) / 1e3; }

std::string line(const char* kind, const char* what, const Histogram& h) {
  char text[200];
  std::snprintf(text, sizeof text, "%-6s %-8s %10llu %11.1f %11.1f %11.1f %11.1f %11.1f %11.1f\n", kind, what,
                static_cast<unsigned long long>(h.count()), h.mean() / 1e3, us(h.percentile(0.5)),
                us(h.percentile(0.9)), us(h.percentile(0.99)), us(h.percentile(0.999)), us(h.max()));
  return text;
}

json numbers(const Histogram& h, bool buckets) {
  json out{{"count", h.count()},
           {"min_us", us(h.min())},
           {"mean_us", h.mean() / 1e3},
           {"p50_us", us(h.percentile(0.5))},
           {"p90_us", us(h.percentile(0.9))},
           {"p99_us", us(h.percentile(0.99))},
           {"p99.9_us", us(h.percentile(0.999))},
           {"max_us", us(h.max())}};
  if (!buckets) return out;
  out["buckets"] = json::array();
  for (const auto& bucket : h.buckets()) out["buckets"].push_back({us(bucket.up_to_ns), bucket.count});
  return out;
}

double per_second(const Results& results) {
  return results.seconds() <= 0 ? 0 : static_cast<double>(results.transactions()) / results.seconds();
}

json settings(const Options& o) {
  return {{"directory", o.directory},
          {"processes", o.processes},
          {"threads", o.threads},
          {"reads_percent", o.reads_percent},
          {"scans_percent", o.scans_percent},
          {"write", o.write},
          {"transaction_rows", o.transaction_rows},
          {"value_bytes", o.value_bytes},
          {"journal_mode", o.journal_mode},
          {"synchronous", o.synchronous},
          {"rate", o.rate},
          {"duration_s", o.duration_s},
          {"warm_up_s", o.warm_up_s},
          {"seed", o.seed}};
}

}  // namespace

std::string as_text(const Options& options, const Results& results) {
  char head[200];
  std::snprintf(head, sizeof head, "%llu transactions in %.2f s: %.1f a second",
                static_cast<unsigned long long>(results.transactions()), results.seconds(),
                per_second(results));
  std::string text = head;
  if (options.rate > 0) {
    std::snprintf(head, sizeof head, " of %.1f asked for; %llu never started", options.rate,
                  static_cast<unsigned long long>(results.not_started));
    text += head;
  }
  if (results.locked > 0)
    text += "; repeated because the database was locked: " + std::to_string(results.locked);
  text +=
      "\n\nmicroseconds         count        mean         p50         p90         p99       p99.9         "
      "max\n";
  for (std::size_t i = 0; i < kKinds; ++i) {
    const Measured& measured = results.kinds[i];
    if (measured.service.count() == 0) continue;
    text += line(kKindNames[i], "latency", measured.latency);
    if (options.rate > 0) text += line(kKindNames[i], "service", measured.service);
  }
  return text;
}

std::string as_json(const Options& options, const Results& results) {
  json out{{"settings", settings(options)},      {"transactions", results.transactions()},
           {"seconds", results.seconds()},       {"per_second", per_second(results)},
           {"not_started", results.not_started}, {"locked", results.locked}};
  for (std::size_t i = 0; i < kKinds; ++i) {
    const Measured& measured = results.kinds[i];
    if (measured.service.count() == 0) continue;
    out["kinds"][kKindNames[i]] = {{"latency", numbers(measured.latency, options.buckets)},
                                   {"service", numbers(measured.service, options.buckets)}};
  }
  return out.dump() + "\n";
}

}  // namespace rillfs::bench
