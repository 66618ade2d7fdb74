#include "events.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <csignal>
#include <sstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

namespace tenfold {
namespace {

using Json = nlohmann::json;

/// An event of each type, as in the contract's example.
std::vector<Event> example_events() {
  const LossItems loss{{"box", 1}, {"cls", 2}, {"dfl", 3}};
  return {HelloEvent{0, 2, 4711, 4242, "2.13.0", "cpu", 1},
          JoinedEvent{"gloo"},
          ModelEvent{"yolov8n", 5, 3011823, 8.2, 0},
          BatchEvent{48, 24, 6'442'450'944},
          ResumedEvent{300, {5, 0}},
          ConsumedEvent{5, 0, 16, {7, 91}},
          StepEvent{5, 100, 1, 75, 301, 16, loss, {0.01, 0.01, 0.01}, 31.5, 2.1},
          ValEvent{5, 64, 200},
          EpochEvent{5, 40.2, loss, loss, MetricSummary{0.8, 0.7, 0.81, 0.55}, {0.01, 0.01, 0.01}, true, 1200, 60.1, 2},
          EvaluationEvent{5, 200, 431, 0.412, {0.8, 0.7, 0.81, 0.55}, {{"ankle boot", 97, 114, {0.85, 0.72, 0.84, 0.59}}}},
          CheckpointEvent{375, {6, 0}, "/checkpoints/step-00000375", {{"model.safetensors", 24, "00"}}, 0.5, 0.8, 0.5},
          WarningEvent{"corrupt_image", "images/a.jpg: bad", "images/a.jpg"},
          ArtifactEvent{{"weights/best.safetensors", 12, "00"}},
          EndEvent{ExitCode::completed, "100 epochs"}};
}

/// The keys of an object and, below them, of its objects.
void shape_of(const Json& json, const std::string& path, std::map<std::string, std::string>& shape) {
  const bool number = json.is_number();
  shape[path] = number ? "number" : json.type_name();
  if (json.is_object()) {
    for (const auto& item : json.items()) shape_of(item.value(), path + "." + item.key(), shape);
  }
  if (json.is_array() && !json.empty()) shape_of(json[0], path + "[]", shape);
}

std::map<std::string, std::string> shape_of(const Json& json) {
  std::map<std::string, std::string> shape;
  shape_of(json, "", shape);
  return shape;
}

TEST(Events, HaveTheShapeOfTheContractsExamples) {
  std::ifstream file(std::string(TENFOLD_FIXTURES) + "/trainer-contract/events.ndjson");
  std::map<std::string, Json> expected;
  for (std::string line; std::getline(file, line);) {
    const Json json = Json::parse(line);
    expected[json["type"]] = json;
  }
  const std::vector<Event> events = example_events();
  EXPECT_EQ(events.size(), expected.size());
  for (const Event& event : events) {
    const Json json = Json::parse(to_json_line(event, 1795000000000));
    ASSERT_TRUE(expected.contains(json["type"])) << json;
    EXPECT_EQ(shape_of(json), shape_of(expected[json["type"]])) << json;
  }
}

TEST(Events, AreOneLineEachWhateverTheTextHolds) {
  const std::string line = to_json_line(WarningEvent{"corrupt_image", "two\nlines and \xff\xfe", "a\nb"}, 1);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(Json::parse(line)["subject"], "a\nb");
}

TEST(Events, ComeWholeAndInOrderThroughASmallPipe) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::string received;
  std::thread reader([&] {
    char buffer[1000];
    for (ssize_t size; (size = ::read(ends[0], buffer, sizeof(buffer))) > 0;) {
      received.append(buffer, static_cast<size_t>(size));
    }
  });
  {
    const auto sink = ndjson_sink(ends[1]);
    for (int64_t i = 0; i < 5000; ++i) sink->emit(ValEvent{1, i, 5000});
    sink->flush();
  }
  ::close(ends[1]);
  reader.join();
  ::close(ends[0]);
  std::istringstream lines(received);
  int64_t expected = 0;
  for (std::string line; std::getline(lines, line); ++expected) ASSERT_EQ(Json::parse(line)["done"], expected);
  EXPECT_EQ(expected, 5000);
}

TEST(Events, AReaderThatWentAwayIsNoError) {
  std::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  const auto sink = ndjson_sink(ends[1]);
  for (int64_t i = 0; i < 100; ++i) sink->emit(ValEvent{1, i, 100});
  sink->flush();
  ::close(ends[1]);
}

}  // namespace
}  // namespace tenfold
