// Tables, records and progress as text, JSON and CSV.
#include "tuner/cli/output.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "tuner/cli/progress.h"

namespace flashtune {
namespace {

Table example() {
  return {{"name", "count", "time"},
          {{"short", std::int64_t{7}, 1.5}, {"a, \"quoted\" name", std::int64_t{1234}, Cell()}}};
}

TEST(Table, AlignsItsColumnsForPeople) {
  EXPECT_EQ(render(example(), Format::kTable),
            "name              count  time\n"
            "short                 7   1.5\n"
            "a, \"quoted\" name   1234  -\n");
}

TEST(Table, IsAnArrayOfTypedObjectsInJson) {
  const auto json = nlohmann::json::parse(render(example(), Format::kJson));
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["count"], 7);
  EXPECT_EQ(json[0]["time"], 1.5);
  EXPECT_EQ(json[1]["name"], "a, \"quoted\" name");
  EXPECT_TRUE(json[1]["time"].is_null());
}

TEST(Table, QuotesWhatCsvWouldTearApart) {
  EXPECT_EQ(render(example(), Format::kCsv), "name,count,time\nshort,7,1.5\n\"a, \"\"quoted\"\" name\",1234,\n");
}

TEST(Cell, IsAskedForItsValueOnlyWhereThereIsOne) {
  const std::optional<double> none, some = 2.5;
  const auto cell_of = [](const std::optional<double>& value) {
    return cell_if(value.has_value(), [&] { return value.value(); });
  };
  EXPECT_EQ(cell_of(none), Cell());
  EXPECT_EQ(cell_of(some), Cell(2.5));
  EXPECT_EQ(cell_if(true, [] { return std::string(); }), Cell(std::string()));
}

TEST(Table, WithoutRowsIsAHeader) {
  EXPECT_EQ(render(Table{{"a", "b"}, {}}, Format::kTable), "a  b\n");
  EXPECT_EQ(render(Table{{"a", "b"}, {}}, Format::kJson), "[]\n");
}

TEST(Record, IsLinesOrOneObject) {
  const Record record = {{"path", "/tmp/x"}, {"rows", std::int64_t{3}}, {"sound", true}};
  EXPECT_EQ(render(record, Format::kTable), "path   /tmp/x\nrows   3\nsound  yes\n");
  EXPECT_EQ(render(record, Format::kJson), "{\"path\":\"/tmp/x\",\"rows\":3,\"sound\":true}\n");
}

TEST(Json, SurvivesBytesThatAreNoText) {
  const auto json = nlohmann::json::parse(render(Record{{"name", std::string("\xff\xfe")}}, Format::kJson));
  EXPECT_TRUE(json["name"].is_string());
}

TEST(HumanUnits, KeepFourDigits) {
  EXPECT_EQ(human_time(12.3456), "12.35 us");
  EXPECT_EQ(human_time(12345.6), "12.35 ms");
  EXPECT_EQ(human_time(2.5e6), "2.5 s");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(141.0 * 1024 * 1024 * 1024), "141 GiB");
}

TEST(ProgressBar, FillsAsTheStageGoesOn) {
  EXPECT_EQ(bar_text("[1/2] b1", Progress{"compile", 0, 40}, -1, 80), "[....................] compile 0/40  [1/2] b1");
  EXPECT_EQ(bar_text("[1/2] b1", Progress{"compile", 20, 40}, 65, 80),
            "[##########..........] compile 20/40  ETA 1:05  [1/2] b1");
  EXPECT_EQ(bar_text("x", Progress{"time 1/3", 9, 9}, 0, 80), "[####################] time 1/3 9/9  ETA 0 s  x");
}

TEST(ProgressBar, NeverWrapsTheLine) {
  for (int columns : {0, 1, 10, 30, 60})
    EXPECT_LT(static_cast<int>(bar_text(std::string(200, 'x'), Progress{"compile", 1, 3}, 5, columns).size()),
              std::max(columns, 1));
}

TEST(RemainingTime, IsWrittenAsPeopleReadIt) {
  EXPECT_EQ(remaining_text(11.2), "12 s");
  EXPECT_EQ(remaining_text(65), "1:05");
  EXPECT_EQ(remaining_text(3725), "1:02:05");
  EXPECT_EQ(remaining_text(-1), "");
  EXPECT_EQ(remaining_text(std::nan("")), "");
}

}  // namespace
}  // namespace flashtune
