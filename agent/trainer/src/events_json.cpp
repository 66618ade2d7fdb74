#include <nlohmann/json.hpp>

#include <cmath>

#include "events.h"

namespace tenfold {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson object(const char* type, int64_t t) { return OrderedJson{{"type", type}, {"t", t}}; }

OrderedJson json_of(const Cursor& cursor) { return OrderedJson{{"epoch", cursor.epoch}, {"offset", cursor.offset}}; }

/// A list, since the fields of a JSON object have no order.
OrderedJson json_of(const LossItems& loss) {
  OrderedJson items = OrderedJson::array();
  for (const LossItem& item : loss) items.push_back(OrderedJson{{"name", item.name}, {"value", item.value}});
  return items;
}

OrderedJson json_of(const MetricSummary& metrics) {
  return OrderedJson{{"precision", metrics.precision},
              {"recall", metrics.recall},
              {"map50", metrics.map50},
              {"map50_95", metrics.map50_95}};
}

OrderedJson json_of(const FileDigest& file) {
  return OrderedJson{{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}};
}

template <typename T>
OrderedJson json_or_null(const std::optional<T>& value) {
  if (!value) return nullptr;
  if constexpr (std::is_arithmetic_v<T>) {
    return *value;
  } else {
    return json_of(*value);
  }
}

struct ToJson {
  int64_t t;

  OrderedJson operator()(const HelloEvent& e) const {
    OrderedJson json = object("hello", t);
    json["contract"] = 1;
    json["rank"] = e.rank;
    json["world_size"] = e.world_size;
    json["generation"] = e.generation;
    json["pid"] = e.pid;
    json["torch"] = e.torch;
    json["device"] = e.device;
    json["threads"] = e.threads;
    return json;
  }
  OrderedJson operator()(const JoinedEvent& e) const {
    OrderedJson json = object("joined", t);
    json["backend"] = e.backend;
    return json;
  }
  OrderedJson operator()(const ModelEvent& e) const {
    OrderedJson json = object("model", t);
    json["arch"] = e.arch;
    json["nc"] = e.nc;
    json["parameters"] = e.parameters;
    json["gflops"] = e.gflops;
    json["transferred"] = e.transferred;
    return json;
  }
  OrderedJson operator()(const BatchEvent& e) const {
    OrderedJson json = object("batch", t);
    json["batch"] = e.batch;
    json["device_batch"] = e.device_batch;
    json["peak_bytes"] = e.peak_bytes;
    return json;
  }
  OrderedJson operator()(const ResumedEvent& e) const {
    OrderedJson json = object("resumed", t);
    json["step"] = e.step;
    json["cursor"] = json_of(e.cursor);
    return json;
  }
  OrderedJson operator()(const ConsumedEvent& e) const {
    OrderedJson json = object("consumed", t);
    json["epoch"] = e.epoch;
    json["from"] = e.from;
    json["to"] = e.to;
    json["ids"] = e.ids;
    return json;
  }
  OrderedJson operator()(const StepEvent& e) const {
    OrderedJson json = object("step", t);
    json["epoch"] = e.epoch;
    json["epochs"] = e.epochs;
    json["batch"] = e.batch;
    json["batches"] = e.batches;
    json["step"] = e.step;
    json["offset"] = e.offset;
    json["loss"] = json_of(e.loss);
    json["lr"] = e.lr;
    json["images_per_s"] = e.images_per_s;
    json["data_wait_ms"] = e.data_wait_ms;
    return json;
  }
  OrderedJson operator()(const ValEvent& e) const {
    OrderedJson json = object("val", t);
    json["epoch"] = e.epoch;
    json["done"] = e.done;
    json["total"] = e.total;
    return json;
  }
  OrderedJson operator()(const EpochEvent& e) const {
    OrderedJson json = object("epoch", t);
    json["epoch"] = e.epoch;
    json["time_s"] = e.time_s;
    json["train"] = json_of(e.train);
    json["val"] = json_or_null(e.val);
    json["metrics"] = json_or_null(e.metrics);
    json["lr"] = e.lr;
    json["best"] = e.best;
    json["images"] = e.images;
    json["images_per_s"] = e.images_per_s;
    json["corrupt_images"] = e.corrupt_images;
    return json;
  }
  OrderedJson operator()(const EvaluationEvent& e) const {
    OrderedJson json = object("evaluation", t);
    json["epoch"] = e.epoch;
    json["images"] = e.images;
    json["labels"] = e.labels;
    json["confidence"] = e.confidence;
    json["metrics"] = json_of(e.metrics);
    json["classes"] = OrderedJson::array();
    for (const ClassResult& result : e.classes) {
      OrderedJson cls = {{"name", result.name}, {"images", result.images}, {"labels", result.labels}};
      cls.update(json_of(result.metrics));
      json["classes"].push_back(std::move(cls));
    }
    return json;
  }
  OrderedJson operator()(const CheckpointEvent& e) const {
    OrderedJson json = object("checkpoint", t);
    json["step"] = e.step;
    json["cursor"] = json_of(e.cursor);
    json["dir"] = e.dir;
    json["files"] = OrderedJson::array();
    for (const FileDigest& file : e.files) json["files"].push_back(json_of(file));
    json["fitness"] = json_or_null(e.fitness);
    json["map50"] = json_or_null(e.map50);
    json["map50_95"] = json_or_null(e.map50_95);
    return json;
  }
  OrderedJson operator()(const WarningEvent& e) const {
    OrderedJson json = object("warning", t);
    json["code"] = e.code;
    json["message"] = e.message;
    if (!e.subject.empty()) json["subject"] = e.subject;
    return json;
  }
  OrderedJson operator()(const ArtifactEvent& e) const {
    OrderedJson json = object("artifact", t);
    json["path"] = e.file.name;
    json["bytes"] = e.file.bytes;
    json["sha256"] = e.file.sha256;
    return json;
  }
  OrderedJson operator()(const EndEvent& e) const {
    OrderedJson json = object("end", t);
    json["exit_code"] = static_cast<int>(e.code);
    json["reason"] = name_of(e.code);
    json["message"] = e.message;
    return json;
  }
};

}  // namespace

std::string to_json_line(const Event& event, int64_t t) {
  // File names and error texts need not be UTF-8; an event must always be written.
  return std::visit(ToJson{t}, event).dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace tenfold
