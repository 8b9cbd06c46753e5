// The convolution sampler (conv_sample.cu) with a star prior added to its logits: kernels of their own, so that those
// without one stay as they are.
#include "cuda/conv_sample.cuh"

namespace vanfast {

namespace {

template <class P>
ConvKernel kernel_of(bool big) {
  return big ? conv_sample_kernel<ConvStar<ConvBig<P>>> : conv_sample_kernel<ConvStar<P>>;
}

}  // namespace

ConvKernel conv_star_kernel_of(const ConvLayout& layout) {
  if (layout.precision == kConvFp32) return kernel_of<ConvFp32>(layout.args.big);
  if (layout.precision == kConvTf32) return kernel_of<ConvTf32>(layout.args.big);
  return kernel_of<ConvBf16>(layout.args.big);
}

}  // namespace vanfast
