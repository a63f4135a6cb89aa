// Which domains give way to which: what shares names with one that is worked on waits for it.
#include "md/table_change.h"

#include "catch.h"

using namespace md;

namespace {

using Indices = std::vector<size_t>;

Domain domain(std::vector<std::string> names) {
    Domain made;
    made.name = names.front();
    made.names = std::move(names);
    return made;
}

/// Rows of these domains, those in `busy` worked on.
TableChange plan(const std::vector<Domain>& before, const Indices& busy,
                 const std::vector<Domain>& wanted) {
    std::vector<TableRow> rows;
    for (const Domain& one : before) rows.push_back({&one, false});
    for (const size_t i : busy) rows[i].is_busy = true;
    return plan_change(rows, wanted);
}

}  // namespace

TEST_CASE("Table: what is the same stays, also if it is worked on or moves") {
    const TableChange change =
        plan({domain({"a.org"}), domain({"b.org"})}, {0}, {domain({"b.org"}), domain({"a.org"})});
    CHECK(change.leaving.empty());
    CHECK(change.coming.empty());
    CHECK(change.waiting.empty());
    CHECK_FALSE(change.is_waiting);
}

TEST_CASE("Table: new ones come, former ones leave, changed ones do both") {
    Domain changed = domain({"b.org"});
    changed.must_staple = true;
    const TableChange change = plan({domain({"a.org"}), domain({"b.org"}), domain({"c.org"})}, {},
                                    {changed, domain({"c.org"}), domain({"d.org"})});
    CHECK(change.leaving == Indices{0, 1});
    CHECK(change.coming == Indices{0, 2});
    CHECK_FALSE(change.is_waiting);
}

TEST_CASE("Table: what a busy row is replaced by waits, and nothing else") {
    Domain changed = domain({"b.org"});
    changed.must_staple = true;
    const TableChange change = plan({domain({"a.org"}), domain({"b.org"}), domain({"c.org"})},
                                    {0, 1}, {changed, domain({"d.org"})});
    CHECK(change.leaving == Indices{2});
    CHECK(change.coming == Indices{1});
    CHECK(change.waiting == Indices{0});
    CHECK(change.is_waiting);
}

TEST_CASE("Table: a name binds what had it and what gets it, over any number of steps") {
    // x.org goes from the busy a.org to b.org, which gives y.org to c.org.
    const TableChange change = plan({domain({"a.org", "x.org"}), domain({"b.org", "y.org"}),
                                     domain({"c.org"}), domain({"d.org"})},
                                    {0},
                                    {domain({"a.org"}), domain({"b.org", "x.org"}),
                                     domain({"c.org", "y.org"}), domain({"e.org"})});
    CHECK(change.leaving == Indices{3});
    CHECK(change.coming == Indices{3});
    CHECK(change.waiting == Indices{0, 1, 2});
}

TEST_CASE("Table: wildcards share names with what they stand for, and not with its neighbours") {
    const std::vector<std::string> stars{"*.a.org"};
    CHECK(plan({domain(stars)}, {0}, {domain({"x.a.org"})}).waiting == Indices{0});
    CHECK(plan({domain({"x.a.org"})}, {0}, {domain(stars)}).waiting == Indices{0});
    CHECK(plan({domain({"x.a.org"})}, {0}, {domain({"y.a.org"})}).coming == Indices{0});
    CHECK(plan({domain(stars)}, {0}, {domain({"a.org"}), domain({"x.y.a.org"})}).coming ==
          Indices{0, 1});
}

TEST_CASE("Table: of two domains with one directory the first counts") {
    const TableChange change = plan({}, {}, {domain({"a.org", "b.org"}), domain({"a.org"})});
    CHECK(change.coming == Indices{0});
    CHECK_FALSE(change.is_waiting);
}
