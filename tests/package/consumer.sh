#!/usr/bin/env bash
# consumer.sh BUILD: installs a build into an empty prefix, moves that prefix, and uses it as somebody outside the tree would.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need cmake ninja pkgconf gcc g++ protoc

cmake --install "$build" --prefix "$work/first" >install.log
mv first prefix

follow_the_guide "$work/prefix"
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name weft.pc)")
export PKG_CONFIG_PATH
follow_by_hand "$work/prefix"
use_the_engine_for_tests -DCMAKE_PREFIX_PATH="$work/prefix"
