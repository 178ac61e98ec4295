#include "layers/network/json_lines.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;

constexpr std::string_view model = R"({
  "name": "small",
  "layers": [
    {"type": "Input", "shape": [8,
      8, 1]},
    {
      "type": "Conv2D",
      "filters": 32
      ,
      "kernel_size":
        [3, 3], "bias": true, "scale": -1.5e-3
    },
    []
  ],
  "a/b": {"c~d": null}
}
)";

TEST(JsonDocument, GivesTheSameValueAsThePlainParser) {
  EXPECT_EQ(JsonDocument(model, "m").root(), nlohmann::ordered_json::parse(model));
  for (const char* text : {"null", "3", "\"x\"", "[]", "{}", " [1,2.5,-3,true,false,[[]]] ", "{\"a\":{\"b\":[{}]}}"})
    EXPECT_EQ(JsonDocument(text, "m").root(), nlohmann::ordered_json::parse(text)) << text;
}

TEST(JsonDocument, KnowsTheLineOfEveryValue) {
  const JsonDocument document(model, "model.json");
  const std::pair<const char*, int> expected[] = {
      {"", 1},
      {"/name", 2},
      {"/layers", 3},
      {"/layers/0", 4},
      {"/layers/0/type", 4},
      {"/layers/0/shape", 4},
      {"/layers/0/shape/0", 4},
      {"/layers/0/shape/1", 5},
      {"/layers/0/shape/2", 5},
      {"/layers/1", 6},
      {"/layers/1/type", 7},
      {"/layers/1/filters", 8},
      {"/layers/1/kernel_size", 10},
      {"/layers/1/kernel_size/0", 11},
      {"/layers/1/kernel_size/1", 11},
      {"/layers/1/bias", 11},
      {"/layers/1/scale", 11},
      {"/layers/2", 13},
      {"/a~1b", 15},
      {"/a~1b/c~0d", 15},
  };
  for (const auto& [pointer, line] : expected) EXPECT_EQ(document.line(pointer), line) << pointer;
}

TEST(JsonDocument, NumbersBeforeALineBreakStayOnTheirLine) {
  const JsonDocument document("[1\n,2.5\n\n,\n-3\n]\n", "m");
  EXPECT_EQ(document.line("/0"), 1);
  EXPECT_EQ(document.line("/1"), 2);
  EXPECT_EQ(document.line("/2"), 5);
}

TEST(JsonDocument, AMissingKeyIsToldAtItsObject) {
  const JsonDocument document(model, "model.json");
  EXPECT_EQ(document.line("/layers/1/strides"), 6);
  EXPECT_EQ(document.line("/nothing/here"), 1);
}

TEST(JsonDocument, SaysWhereInWords) {
  const JsonDocument document(model, "model.json");
  EXPECT_EQ(document.where("/layers/1/filters"), "model.json:8: layers[1].filters");
  EXPECT_EQ(document.where("/layers/0/shape/1"), "model.json:5: layers[0].shape[1]");
  EXPECT_EQ(document.where("/layers/1/missing"), "model.json:6: layers[1].missing");
  EXPECT_EQ(document.where("/layers/9/x/y"), "model.json:3: layers[9].x.y");
  EXPECT_EQ(document.where("/a~1b/c~0d"), "model.json:15: a/b.c~d");
  EXPECT_EQ(document.where("/odd~"), "model.json:1: odd~");
  EXPECT_EQ(document.where(""), "model.json:1");
}

std::string refused(std::string_view text) {
  return error_of([&] { JsonDocument(text, "bad.json"); });
}

TEST(JsonDocument, ToldSyntaxErrorsHaveLineAndColumn) {
  EXPECT_TRUE(says(refused("{\n  \"a\": 1,\n  \"b\" 2\n}"), {"bad.json:3:7: ", "syntax error"}));
  EXPECT_TRUE(says(refused("[1, 2\n3]"), {"bad.json:2:", "syntax error"}));
  EXPECT_TRUE(says(refused("{\"a\": tru}"), {"bad.json:1:10: ", "invalid literal"}));
  EXPECT_TRUE(says(refused("[1,\n 2,\n"), {"bad.json:", "end of input"}));
  EXPECT_TRUE(says(refused(""), {"bad.json:1:1: "}));
  EXPECT_TRUE(says(refused("[1] x"), {"bad.json:1:5: "}));
  EXPECT_TRUE(says(refused("[\n1e999]"), {"bad.json:2:", "1e999"}));
  EXPECT_TRUE(says(refused("[\n\"a\xFF\"]"), {"bad.json:2:3: ", "UTF-8"}));
  EXPECT_TRUE(says(refused("[\"a\nb\"]"), {"bad.json:", "control character"}));
}

TEST(JsonDocument, RefusesAKeyThatComesTwice) {
  EXPECT_TRUE(says(refused("{\n\"lr\": 1,\n\"x\": {\"lr\": 3},\n  \"lr\": 2}"),
                   {"bad.json:4:", "key 'lr' comes a second time", "first on line 2"}));
  EXPECT_NO_THROW(JsonDocument("[{\"lr\": 1}, {\"lr\": 2}]", "good.json"));
}

TEST(JsonDocument, ReadsFiles) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder.path() / "m.json", model);
  const auto document = JsonDocument::read(folder.path() / "m.json");
  EXPECT_EQ(document.where("/name"), (folder.path() / "m.json").string() + ":2: name");
  EXPECT_TRUE(says(error_of([&] { JsonDocument::read(folder.path() / "none.json"); }), {"none.json", "No such file"}));
  EXPECT_TRUE(says(error_of([&] { JsonDocument::read(folder.path()); }), {"directory"}));
  testing::write_file(folder.path() / "empty.json", "");
  EXPECT_TRUE(says(error_of([&] { JsonDocument::read(folder.path() / "empty.json"); }), {"empty.json:1:1"}));
}

}  // namespace
}  // namespace lockstep
