#include "progress.h"

#include <nlohmann/json.hpp>

#include <limits>

namespace tenfold {
namespace {

using Json = nlohmann::json;

Json metrics_json(const std::optional<MetricSummary>& metrics) {
  if (!metrics) return nullptr;
  return Json{metrics->precision, metrics->recall, metrics->map50, metrics->map50_95};
}

std::optional<MetricSummary> metrics_from(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return MetricSummary{json.at(0), json.at(1), json.at(2), json.at(3)};
}

Json items_json(const LossItems& items) {
  Json list = Json::array();
  for (const LossItem& item : items) list.push_back({{"name", item.name}, {"value", item.value}});
  return list;
}

/// JSON has no NaN and no infinity; what was one of them comes as null.
double number_from(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

LossItems items_from(const Json& json) {
  LossItems items;
  for (const Json& item : json) items.push_back({item.at("name"), number_from(item.at("value"))});
  return items;
}

Json row_json(const EpochRow& row) {
  return Json{{"epoch", row.epoch},
              {"time_s", row.time_s},
              {"train", items_json(row.train)},
              {"metrics", metrics_json(row.metrics)},
              {"val", row.val ? items_json(*row.val) : Json(nullptr)},
              {"lr", row.lr}};
}

EpochRow row_from(const Json& json) {
  EpochRow row{json.at("epoch"), json.at("time_s"), items_from(json.at("train")), metrics_from(json.at("metrics")),
               std::nullopt, json.at("lr")};
  if (!json.at("val").is_null()) row.val = items_from(json.at("val"));
  return row;
}

}  // namespace

double fitness_of(const MetricSummary& metrics) { return 0.1 * metrics.map50 + 0.9 * metrics.map50_95; }

Json to_json(const Progress& progress) {
  Json history = Json::array();
  for (const EpochRow& row : progress.history) history.push_back(row_json(row));
  return Json{{"step", progress.step},
              {"cursor", {{"epoch", progress.cursor.epoch}, {"offset", progress.cursor.offset}}},
              {"finished_epochs", progress.finished_epochs},
              {"planned_epochs", progress.planned_epochs},
              {"epoch",
               {{"loss", items_json(progress.epoch.loss)},
                {"steps", progress.epoch.steps},
                {"images", progress.epoch.images},
                {"seconds", progress.epoch.seconds}}},
              {"loss_scale", {{"value", progress.loss_scale.value}, {"good_steps", progress.loss_scale.good_steps}}},
              {"best_fitness", progress.best_fitness},
              {"best_epoch", progress.best_epoch},
              {"seconds", progress.seconds},
              {"validation_seconds", progress.validation_seconds},
              {"history", history}};
}

Progress progress_from_json(const Json& json) {
  Progress progress;
  json.at("step").get_to(progress.step);
  json.at("cursor").at("epoch").get_to(progress.cursor.epoch);
  json.at("cursor").at("offset").get_to(progress.cursor.offset);
  json.at("finished_epochs").get_to(progress.finished_epochs);
  progress.planned_epochs = json.value("planned_epochs", int64_t{0});  // older checkpoints have none
  const Json& epoch = json.at("epoch");
  progress.epoch.loss = items_from(epoch.at("loss"));
  epoch.at("steps").get_to(progress.epoch.steps);
  epoch.at("images").get_to(progress.epoch.images);
  epoch.at("seconds").get_to(progress.epoch.seconds);
  if (const auto scale = json.find("loss_scale"); scale != json.end()) {  // older checkpoints have none
    scale->at("value").get_to(progress.loss_scale.value);
    scale->at("good_steps").get_to(progress.loss_scale.good_steps);
  }
  json.at("best_fitness").get_to(progress.best_fitness);
  json.at("best_epoch").get_to(progress.best_epoch);
  json.at("seconds").get_to(progress.seconds);
  progress.validation_seconds = json.value("validation_seconds", 0.0);  // older checkpoints have none
  for (const Json& row : json.at("history")) progress.history.push_back(row_from(row));
  return progress;
}

}  // namespace tenfold
