// What this mdfront is: version, commit, and the libraries that it runs with.
#pragma once

#include <string>

namespace app {

/// The commit that it was built from; empty if it was built from no git tree
/// (cmake/build_info.cmake).
extern const char* const build_commit;
/// Names and versions of the libraries that are part of the program, or cannot be asked.
extern const char* const built_with;

/// Lines for `mdfront version`; with `verbose` also what this machine lets it do.
std::string describe_version(bool verbose);

}  // namespace app
