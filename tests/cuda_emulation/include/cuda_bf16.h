#pragma once
#include "base/half.h"

struct __nv_bfloat16 {
  tandem::BF16 value;
};
struct __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
inline float __bfloat162float(__nv_bfloat16 x) {
  return tandem::to_float(x.value);
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  return {tandem::to_bf16(x)};
}
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
