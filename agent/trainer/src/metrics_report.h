#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "events.h"
#include "metrics.h"

namespace tenfold {

/// The text of metrics.json: everything that an evaluation found out but the curves, overall and class by class.
/// `names` by class index.
std::string metrics_json(const Metrics& metrics, int64_t epoch, const std::vector<std::string>& names);

MetricSummary summary_of(const Metrics& metrics);

/// What is told of an evaluation, class by class.
EvaluationEvent evaluation_event(const Metrics& metrics, int64_t epoch, const std::vector<std::string>& names);

}  // namespace tenfold
