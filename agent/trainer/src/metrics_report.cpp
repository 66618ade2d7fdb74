#include "metrics_report.h"

#include <nlohmann/json.hpp>

namespace tenfold {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr size_t kIou75 = 5;

std::string name_of_class(const std::vector<std::string>& names, int cls) {
  const auto i = static_cast<size_t>(cls);
  return i < names.size() ? names[i] : std::to_string(cls);
}

OrderedJson json_of(const ClassMetrics& metrics, const std::vector<std::string>& names) {
  return {{"class", metrics.cls},         {"name", name_of_class(names, metrics.cls)},
          {"images", metrics.images},     {"labels", metrics.labels},
          {"precision", metrics.precision}, {"recall", metrics.recall},
          {"f1", metrics.f1},             {"AP50", metrics.ap50()},
          {"AP75", metrics.ap[kIou75]},   {"AP50-95", metrics.ap50_95()},
          {"AP_by_iou", metrics.ap}};
}

OrderedJson json_of(const ConfusionMatrix& confusion) {
  OrderedJson rows = OrderedJson::array();
  for (int predicted = 0; predicted <= confusion.classes(); ++predicted) {
    OrderedJson row = OrderedJson::array();
    for (int actual = 0; actual <= confusion.classes(); ++actual) row.push_back(confusion.count(predicted, actual));
    rows.push_back(std::move(row));
  }
  return {{"iou_above", ConfusionMatrix::kOverlap},
          {"confidence_from", ConfusionMatrix::kConfidence},
          {"by_predicted_then_actual", std::move(rows)}};
}

}  // namespace

std::string metrics_json(const Metrics& metrics, int64_t epoch, const std::vector<std::string>& names) {
  OrderedJson classes = OrderedJson::array();
  for (const ClassMetrics& cls : metrics.classes) classes.push_back(json_of(cls, names));
  const OrderedJson json = {{"epoch", epoch},
                     {"images", metrics.images},
                     {"background_images", metrics.background_images},
                     {"labels", metrics.labels},
                     {"confidence", metrics.confidence},
                     {"precision", metrics.precision},
                     {"recall", metrics.recall},
                     {"f1", metrics.f1},
                     {"mAP50", metrics.map50},
                     {"mAP75", metrics.map75},
                     {"mAP50-95", metrics.map50_95},
                     {"classes", std::move(classes)},
                     {"confusion_matrix", json_of(metrics.confusion)}};
  return json.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

MetricSummary summary_of(const Metrics& metrics) {
  return {metrics.precision, metrics.recall, metrics.map50, metrics.map50_95};
}

EvaluationEvent evaluation_event(const Metrics& metrics, int64_t epoch, const std::vector<std::string>& names) {
  EvaluationEvent event{epoch, metrics.images, metrics.labels, metrics.confidence, summary_of(metrics), {}};
  for (const ClassMetrics& cls : metrics.classes) {
    event.classes.push_back({name_of_class(names, cls.cls), cls.images, cls.labels,
                             {cls.precision, cls.recall, cls.ap50(), cls.ap50_95()}});
  }
  return event;
}

}  // namespace tenfold
