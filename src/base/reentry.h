// Finds a handler that is entered while it is on the stack: the mistake after which an object works
// on what its own caller has just taken away. Within one event calls go down, and what goes back up
// is a return value or comes from the loop (docs/architecture.md), so that it cannot happen; in
// debug and sanitizer builds this says if it does. Nothing in release builds.
#pragma once

#include "base/result.h"

namespace base {

/// One per object whose handlers must not nest.
class Reentry {
  public:
    /// Stands on the stack for as long as a handler runs.
    class [[nodiscard]] Entered {
      public:
#ifdef MDFRONT_GUARDS
        explicit Entered(Reentry& object,
                         const std::source_location& where = std::source_location::current())
            : object_(object) {
            check(!object_.inside_, where);
            object_.inside_ = true;
        }
        ~Entered() {
            object_.inside_ = false;
        }
#else
        explicit Entered(Reentry&) {}
#endif
        Entered(const Entered&) = delete;
        Entered& operator=(const Entered&) = delete;

#ifdef MDFRONT_GUARDS
      private:
        Reentry& object_;
#endif
    };

#ifdef MDFRONT_GUARDS
    /// For a handler that deletes its object: nothing of it is on the stack.
    void check_outside(const std::source_location& where = std::source_location::current()) const {
        check(!inside_, where);
    }

  private:
    bool inside_ = false;
#else
    void check_outside() const {}
#endif
};

}  // namespace base
