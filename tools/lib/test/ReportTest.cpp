//===- ReportTest.cpp - What a report is made of --------------------------===//

#include "FrontierChart.h"
#include "Html.h"
#include "NetworkMap.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

using namespace tacq;
using namespace tacq::tools;

static std::string escaped(llvm::StringRef text) {
  std::string result;
  llvm::raw_string_ostream os(result);
  os << Escaped{text};
  return result;
}

TEST(Html, EscapesMarkup) {
  EXPECT_EQ(escaped("<a b='c' d=\"e\">&amp;</a>"),
            "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;amp;&lt;/a&gt;");
  EXPECT_EQ(escaped("größer → 重み"), "größer → 重み");
}

TEST(Html, ReplacesWhatHtmlDoesNotAllow) {
  EXPECT_EQ(escaped(llvm::StringRef("a\0b\x01\r", 5)), "a\uFFFDb\uFFFD\uFFFD");
  EXPECT_EQ(escaped("a\xc3(\xff"), "a\uFFFD(\uFFFD");       // cut short; no UTF-8
  EXPECT_EQ(escaped("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD"); // a surrogate
  EXPECT_EQ(escaped("\xc2\x85\xef\xbf\xbf"), "\uFFFD\uFFFD");
  EXPECT_EQ(escaped("a\xe2\x82"), "a\uFFFD\uFFFD");
}

static NetworkMap mapOf(std::initializer_list<const char *> matrices) {
  std::vector<NamedTensor> tensors;
  for (const char *name : matrices)
    tensors.push_back({name, !llvm::StringRef(name).contains("norm")});
  return mapNetwork(tensors);
}

TEST(NetworkMap, FindsLayersAndProjections) {
  NetworkMap map =
      mapOf({"model.embed", "model.layers.0.norm.weight", "model.layers.0.q.weight",
             "model.layers.0.k.weight", "model.layers.1.norm.weight", "model.layers.1.q.weight",
             "model.layers.1.k.weight", "model.norm.weight", "lm_head.weight"});
  EXPECT_EQ(map.layers, (std::vector<std::string>{"0", "1"}));
  EXPECT_EQ(map.projections, (std::vector<std::string>{"q", "k"}));
  EXPECT_EQ(map.cells[1][0], std::vector<size_t>{5});
  EXPECT_EQ(map.outside, (std::vector<size_t>{0, 8}));
}

TEST(NetworkMap, NumbersOfOperationsAreNoLayers) {
  NetworkMap map = mapOf({"lm_head.weight", "h.0.norm_1.weight", "linear.weight", "linear.bias",
                          "linear_1.weight", "h.0.norm_2.weight", "linear_2.weight",
                          "h.1.norm_1.weight", "linear_3.weight", "linear_4.weight",
                          "h.1.norm_2.weight", "linear_5.weight", "norm.weight"});
  EXPECT_EQ(map.layers, (std::vector<std::string>{"0", "1"}));
  EXPECT_EQ(map.projections.size(), 4u);
  EXPECT_EQ(map.cells[1][0], std::vector<size_t>{8});
  EXPECT_EQ(map.cells[1][2], std::vector<size_t>{11});
  EXPECT_EQ(map.outside, std::vector<size_t>{0});
}

TEST(NetworkMap, TellsStacksApart) {
  NetworkMap map = mapOf(
      {"enc.0.q", "enc.0.k", "enc.1.q", "enc.1.k", "dec.0.q", "dec.0.k", "dec.1.q", "dec.1.k"});
  EXPECT_EQ(map.layers, (std::vector<std::string>{"enc.0", "enc.1", "dec.0", "dec.1"}));
  EXPECT_EQ(map.projections, (std::vector<std::string>{"q", "k"}));
  EXPECT_EQ(map.cells[2][1], std::vector<size_t>{5});
}

TEST(NetworkMap, WithoutLayersAllIsOutside) {
  NetworkMap map = mapOf({"w1", "w2", "fc.weight", ""});
  EXPECT_TRUE(map.layers.empty());
  EXPECT_EQ(map.outside.size(), 4u);
  EXPECT_TRUE(mapNetwork({}).layers.empty());
}

static PricedPlan priced(uint64_t bytes, double loss) {
  PricedPlan plan;
  plan.bits = 2;
  plan.bytes = bytes;
  plan.predictedLoss = loss;
  return plan;
}

TEST(Frontier, IsWhatNoOtherBeats) {
  EXPECT_EQ(paretoFrontier({priced(3, 1), priced(1, 3), priced(2, 3), priced(2, 2), priced(2, 2),
                            priced(4, 1), priced(5, 0.5)}),
            (std::vector<bool>{true, true, false, true, false, false, true}));
  EXPECT_TRUE(paretoFrontier({}).empty());
}

TEST(Frontier, LeavesOutWhatHasNoLogarithm) {
  std::string text;
  llvm::raw_string_ostream os(text);
  writeFrontier(os, {priced(0, 1), priced(10, 0), priced(10, -1)}, 1);
  EXPECT_EQ(text, "");
  writeFrontier(os, {priced(0, 1), priced(10, 2)}, 0);
  EXPECT_EQ(llvm::StringRef(text).count("class=\"b2\""), 1u);
  EXPECT_EQ(text.find("nan"), std::string::npos);
}
