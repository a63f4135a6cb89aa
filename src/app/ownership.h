// Giving files to `server.user`, as root, where that user may change what a path means at any
// moment: in its own directories it can put a symbolic link, or a hard link to a file of somebody
// else's, in the place of anything. So nothing is changed by its path. Each component is opened
// without following links, what was opened is looked at, and what was looked at is given.
//
// - On the way to a path, symbolic links are followed only where root alone can make them.
// - Below it, no link is followed, and no file system is entered that is mounted there.
// - Only directories, and regular files with one name, are given. A file with more names may be
//   somebody else's. Links, sockets, FIFOs and devices are none of ours.
// - Only what is root's, or was of the tree's owner, is given, and no directory of theirs that
//   others can write: it may have been moved here, with what its owner keeps in it.
//
// Nothing but directories is ever opened for reading. Main thread, before others.
#pragma once

#include <string>
#include <vector>

#include "app/identity.h"
#include "base/result.h"

namespace app {

/// What became of a tree.
struct Given {
    size_t entries = 0;                // that changed their owner
    std::vector<std::string> skipped;  // "PATH: why; what to do", at most skipped_max
    size_t skipped_more = 0;

    static constexpr size_t skipped_max = 20;
};

/// The directory `path` and all in it. It is made if it is missing (mode 0700), and so are those
/// above it (mode 0755). What cannot be given is skipped and told of.
base::Result<Given> give_tree(const std::string& path, const User& user);

/// The Unix socket that root has just made.
base::Status give_socket(const std::string& path, const User& user);

/// Makes a log file that is missing for the user, mode 0640, where only root can make files, as
/// nginx does. Elsewhere the user makes it itself.
base::Status make_log(const std::string& path, const User& user);

/// Whether nobody but root can change what is in this directory or what leads to it.
bool is_roots_alone(const std::string& directory);

}  // namespace app
