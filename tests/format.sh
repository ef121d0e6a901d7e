#!/usr/bin/env bash
# Checks that every source file is as clang-format writes it; `format.sh --fix` makes it so.
set -euo pipefail
cd "$(dirname "$0")/.."
bash deploy/install-packages.sh lint
mode=(--dry-run --Werror)
[ "${1:-}" != --fix ] || mode=(-i)
git ls-files -z '*.cc' '*.h' | xargs -0 clang-format "${mode[@]}"
