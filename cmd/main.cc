#include "cmd/command_line.h"

int main(int argc, char** argv) { return rillfs::cmd::run({argv + 1, argv + argc}); }
