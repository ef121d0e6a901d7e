#include "cmd/report.h"

#include <iostream>

#include "cmd/printable.h"

namespace rillfs::cmd {

int report(const Error& error, int exit_code) {
  std::cerr << "rillfs: " << printable(error.message) << std::endl;
  return exit_code;
}

}  // namespace rillfs::cmd
