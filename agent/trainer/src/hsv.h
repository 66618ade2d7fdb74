#pragma once

#include "augment.h"

namespace tenfold {

/// Factors by which hue (as a share of the circle, wrapping round), saturation and value are multiplied.
struct HsvGains {
  float hue = 1.0f;
  float saturation = 1.0f;
  float value = 1.0f;
};

/// Changes the colours of a planar picture in place. Results are the same on every x86-64 machine, whichever vector
/// instructions it has.
void change_colours(PlanarOut picture, HsvGains gains);

}  // namespace tenfold
