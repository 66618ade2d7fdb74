#include "freeze.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "exit_code.h"

namespace tenfold {
namespace {

std::shared_ptr<Detector> small_model() { return build_detector(load_model_spec("yolov8n"), 2); }

std::string refusal(const std::vector<std::string>& prefixes) {
  try {
    freeze(*small_model(), prefixes);
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    return error.what();
  }
  return "accepted";
}

TEST(Freeze, StopsLayersByPrefixAndNoOthers) {
  const auto model = small_model();
  freeze(*model, {"model.2", "model.22.cv3.0"});
  for (const auto& item : model->named_parameters()) {
    const std::string& name = item.key();
    const bool frozen = name.starts_with("model.2.") || name.starts_with("model.22.cv3.0.") ||
                        name.starts_with("model.22.dfl.");  // never trains
    EXPECT_EQ(item.value().requires_grad(), !frozen) << name;
  }
}

TEST(Freeze, FrozenBatchNormsRestAndOthersFollowTheData) {
  const auto model = small_model();
  const std::vector<std::string> prefixes = {"model.0"};
  freeze(*model, prefixes);
  enter_training_mode(*model, prefixes);
  const auto mean = [&](const std::string& layer) {
    return model->named_buffers()["model." + layer + ".bn.running_mean"].clone();
  };
  const at::Tensor frozen = mean("0");
  const at::Tensor free = mean("1");
  model->forward(at::rand({2, 3, 64, 64}));
  EXPECT_TRUE(mean("0").equal(frozen));
  EXPECT_FALSE(mean("1").equal(free));
}

TEST(Freeze, RefusesWhatTheModelDoesNotHaveAndToFreezeAll) {
  EXPECT_NE(refusal({"model.40"}).find("train.freeze: the model has nothing called model.40"), std::string::npos);
  EXPECT_NE(refusal({"backbone"}).find("its layers are model.0 to model.22"), std::string::npos);
  EXPECT_NE(refusal({"model"}).find("nothing is left to train"), std::string::npos);
  EXPECT_EQ(refusal({"model.10"}), "accepted") << "a layer without parameters";
}

}  // namespace
}  // namespace tenfold
