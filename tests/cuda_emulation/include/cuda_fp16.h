#pragma once
#include "base/half.h"

struct __half {
  tandem::F16 value;
};
struct __half2 {
  __half x, y;
};
inline float __half2float(__half x) {
  return tandem::to_float(x.value);
}
inline __half __float2half_rn(float x) {
  return {tandem::to_f16(x)};
}
inline __half2 __floats2half2_rn(float x, float y) {
  return {__float2half_rn(x), __float2half_rn(y)};
}
inline __half __ushort_as_half(unsigned short bits) {
  return {{bits}};
}
