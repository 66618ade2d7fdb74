#include <nlohmann/json.hpp>

#include <cmath>

#include "events.h"

namespace tenfold {
namespace {

using Json = nlohmann::ordered_json;

Json object(const char* type, int64_t t) { return Json{{"type", type}, {"t", t}}; }

Json json_of(const Cursor& cursor) { return Json{{"epoch", cursor.epoch}, {"offset", cursor.offset}}; }

Json json_of(const LossItems& loss) { return Json{{"box", loss[0]}, {"cls", loss[1]}, {"dfl", loss[2]}}; }

Json json_of(const MetricSummary& metrics) {
  return Json{{"precision", metrics.precision},
              {"recall", metrics.recall},
              {"map50", metrics.map50},
              {"map50_95", metrics.map50_95}};
}

Json json_of(const FileDigest& file) {
  return Json{{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}};
}

template <typename T>
Json json_or_null(const std::optional<T>& value) {
  if (!value) return nullptr;
  if constexpr (std::is_arithmetic_v<T>) {
    return *value;
  } else {
    return json_of(*value);
  }
}

struct ToJson {
  int64_t t;

  Json operator()(const HelloEvent& e) const {
    Json json = object("hello", t);
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
  Json operator()(const JoinedEvent& e) const {
    Json json = object("joined", t);
    json["backend"] = e.backend;
    return json;
  }
  Json operator()(const ModelEvent& e) const {
    Json json = object("model", t);
    json["arch"] = e.arch;
    json["nc"] = e.nc;
    json["parameters"] = e.parameters;
    json["gflops"] = e.gflops;
    json["transferred"] = e.transferred;
    return json;
  }
  Json operator()(const ResumedEvent& e) const {
    Json json = object("resumed", t);
    json["step"] = e.step;
    json["cursor"] = json_of(e.cursor);
    return json;
  }
  Json operator()(const ConsumedEvent& e) const {
    Json json = object("consumed", t);
    json["epoch"] = e.epoch;
    json["from"] = e.from;
    json["to"] = e.to;
    json["ids"] = e.ids;
    return json;
  }
  Json operator()(const StepEvent& e) const {
    Json json = object("step", t);
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
  Json operator()(const ValEvent& e) const {
    Json json = object("val", t);
    json["epoch"] = e.epoch;
    json["done"] = e.done;
    json["total"] = e.total;
    return json;
  }
  Json operator()(const EpochEvent& e) const {
    Json json = object("epoch", t);
    json["epoch"] = e.epoch;
    json["time_s"] = e.time_s;
    json["train"] = json_of(e.train);
    json["val"] = json_or_null(e.val);
    json["metrics"] = json_or_null(e.metrics);
    json["lr"] = e.lr;
    json["best"] = e.best;
    json["images"] = e.images;
    json["images_per_s"] = e.images_per_s;
    return json;
  }
  Json operator()(const CheckpointEvent& e) const {
    Json json = object("checkpoint", t);
    json["step"] = e.step;
    json["cursor"] = json_of(e.cursor);
    json["dir"] = e.dir;
    json["files"] = Json::array();
    for (const FileDigest& file : e.files) json["files"].push_back(json_of(file));
    json["fitness"] = json_or_null(e.fitness);
    json["map50"] = json_or_null(e.map50);
    json["map50_95"] = json_or_null(e.map50_95);
    return json;
  }
  Json operator()(const WarningEvent& e) const {
    Json json = object("warning", t);
    json["code"] = e.code;
    json["message"] = e.message;
    if (!e.subject.empty()) json["subject"] = e.subject;
    return json;
  }
  Json operator()(const ArtifactEvent& e) const {
    Json json = object("artifact", t);
    json["path"] = e.file.name;
    json["bytes"] = e.file.bytes;
    json["sha256"] = e.file.sha256;
    return json;
  }
  Json operator()(const EndEvent& e) const {
    Json json = object("end", t);
    json["exit_code"] = static_cast<int>(e.code);
    json["reason"] = name_of(e.code);
    json["message"] = e.message;
    return json;
  }
};

}  // namespace

std::string to_json_line(const Event& event, int64_t t) {
  // File names and error texts need not be UTF-8; an event must always be written.
  return std::visit(ToJson{t}, event).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace tenfold
