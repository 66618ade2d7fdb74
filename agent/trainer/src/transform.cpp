#include <stdexcept>

#include "warp.h"

namespace tenfold {

Transform Transform::inverse() const {
  const auto& [a, b, c, d, e, f, g, h, i] = m;
  const double determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  if (determinant == 0) throw std::domain_error("a transform that cannot be inverted");
  const double k = 1 / determinant;
  return {{(e * i - f * h) * k, (c * h - b * i) * k, (b * f - c * e) * k,    //
           (f * g - d * i) * k, (a * i - c * g) * k, (c * d - a * f) * k,    //
           (d * h - e * g) * k, (b * g - a * h) * k, (a * e - b * d) * k}};  //
}

Transform::Point Transform::operator()(double x, double y) const {
  const double w = m[6] * x + m[7] * y + m[8];
  return {(m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w};
}

Transform operator*(const Transform& a, const Transform& b) {
  Transform product;
  for (size_t row = 0; row < 3; ++row)
    for (size_t column = 0; column < 3; ++column) {
      double sum = 0;
      for (size_t k = 0; k < 3; ++k) sum += a.m[3 * row + k] * b.m[3 * k + column];
      product.m[3 * row + column] = sum;
    }
  return product;
}

}  // namespace tenfold
