#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model.h"

namespace tenfold::testing {

/// A network with running statistics that are not those of a fresh one, so that leaving any of them out shows.
std::shared_ptr<Detector> lively_detector(const std::string& arch, int nc);

/// A yolov8n of three classes that finds, in every picture of 32 x 32 pixels, one object of class 0 with score 0.9 whose
/// box goes from (8, 8) to (24, 24).
std::shared_ptr<Detector> one_box_detector();

/// Writes a detector's weights as training does.
void write_detector(const std::filesystem::path& file, const Detector& model, const std::string& arch,
                    const std::vector<std::string>& names, int imgsz);

}  // namespace tenfold::testing
