#pragma once

#include "onnx_model.h"
#include "op_graph.h"

namespace tenfold {

/// The nodes and initializers of a recorded graph that its outputs depend on, in ONNX's operators. `input` and `outputs`
/// name the graph's ends; initializers are called as the parameters they come from.
/// Throws ModelError for an operator that has no counterpart here, naming it.
void write_operators(const OpGraph& graph, const std::string& input, const std::vector<std::string>& outputs,
                     OnnxModel& model);

}  // namespace tenfold
