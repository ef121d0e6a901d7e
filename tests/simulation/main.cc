// Runs the simulation for one seed after the other, until one of them breaks a rule.
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>

#include "simulation/world.h"

namespace {

using rillfs::simulation::Options;
using rillfs::simulation::Outcome;
using rillfs::simulation::Planted;
using rillfs::simulation::Violation;
using rillfs::simulation::World;

const std::map<std::string, bool Planted::*> kPlanted = {{"never-shrinks", &Planted::never_shrinks},
                                                         {"never-parks", &Planted::never_parks},
                                                         {"forgets-the-last", &Planted::forgets_the_last},
                                                         {"lying-disk", &Planted::lying_disk},
                                                         {"blind-snapshot", &Planted::blind_snapshot}};

Outcome run(const Options& options) { return World(options).run(); }

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t first = 1;
  std::uint64_t count = 100;
  bool twice = false;
  std::string planted;
  Options options;
  CLI::App app("Simulates clusters: each seed is one, with everything that happens to it");
  app.add_option("--first", first, "the first seed");
  app.add_option("--seeds", count, "how many");
  app.add_option("--steps", options.steps, "of each, before all is healed");
  app.add_flag("--twice", twice, "run each seed twice: both must do the same");
  app.add_flag("--verbose", options.says_all, "say what happens, and what the nodes log");
  app.add_option("--planted", planted, "break this rule, which has to be noticed")
      ->check(CLI::IsMember(kPlanted));
  CLI11_PARSE(app, argc, argv);
  if (!planted.empty()) options.planted.*kPlanted.at(planted) = true;
  spdlog::set_level(options.says_all ? spdlog::level::info : spdlog::level::off);

  Outcome all;
  for (options.seed = first; options.seed < first + count; ++options.seed) {
    try {
      const Outcome outcome = run(options);
      if (twice && run(options).trace != outcome.trace)
        throw Violation("does something else the second time");
      all.commits += outcome.commits;
      all.crashes += outcome.crashes;
      all.lasted += outcome.lasted;
    } catch (const std::exception& violation) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(options.seed), violation.what());
      return 1;
    }
  }
  std::printf("%llu seeds: %llu commits, %llu crashes, %.1f hours of simulated time; no rule was broken\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(all.commits),
              static_cast<unsigned long long>(all.crashes),
              std::chrono::duration<double>(all.lasted).count() / 3600);
  return 0;
}
