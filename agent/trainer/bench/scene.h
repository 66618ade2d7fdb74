#pragma once

#include <cstdint>
#include <vector>

#include "dataset.h"
#include "image.h"

namespace tenfold::bench {

/// A picture that compresses like a photograph, with its labels.
struct Scene {
  Image image;
  std::vector<Label> labels;
};

/// Makes the scene of `seed`: hills of light at every scale (a spectrum that falls with frequency, as in photographs),
/// a few textured objects with edges, and the noise of a sensor. The same bytes on every machine.
Scene make_scene(int width, int height, uint64_t seed);

}  // namespace tenfold::bench
