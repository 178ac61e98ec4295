// Szegedy et al., "Going deeper with convolutions", CVPR 2015, with batch normalisation (Ioffe and Szegedy, ICML 2015).
#include "layers/zoo/blocks.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

namespace {

Symbol conv(const Symbol& x, int64_t filters, int64_t kernel, const std::string& name, int64_t stride = 1) {
  return conv_norm_relu(x, filters, {.kernel = kernel, .stride = stride, .epsilon = 1e-3F}, name);
}

/// Filters of an inception module's branches: a 1x1; a 1x1 before a 3x3; another such; a 1x1 after a pool.
struct Inception {
  const char* name;
  int64_t single, reduce, wide, second_reduce, second, pooled;
};

/// The second branch has a 3x3 where the paper has a 5x5, as in TensorFlow's and PyTorch's.
Symbol inception(const Symbol& x, const Inception& i) {
  const std::string name = i.name;
  const Symbol a = conv(x, i.single, 1, name + "_1");
  const Symbol b = conv(conv(x, i.reduce, 1, name + "_2_reduce"), i.wide, 3, name + "_2");
  const Symbol c = conv(conv(x, i.second_reduce, 1, name + "_3_reduce"), i.second, 3, name + "_3");
  const MaxPooling2D pool({3, 3}, {.strides = {1, 1}, .padding = 1});
  const Symbol d = conv(pool.named(name + "_pool")(x), i.pooled, 1, name + "_4");
  return Concatenate().named(name)({a, b, c, d});
}

/// A window that begins inside the image counts, as with PyTorch's ceil_mode.
MaxPooling2D halve(int64_t size, const std::string& name) {
  return MaxPooling2D({size, size}, {.strides = {2, 2}, .padding = {{0, 1}, {0, 1}}}).named(name);
}

}  // namespace

Network googlenet(const Shape& image, int64_t classes) {
  Symbol x = conv(Input({image[0], image[1], image[2]}), 64, 7, "stem_1", 2);
  x = conv(halve(3, "stem_pool_1")(x), 64, 1, "stem_2");
  x = halve(3, "stem_pool_2")(conv(x, 192, 3, "stem_3"));
  x = inception(x, {"inception_3a", 64, 96, 128, 16, 32, 32});
  x = inception(x, {"inception_3b", 128, 128, 192, 32, 96, 64});
  x = halve(3, "pool_3")(x);
  x = inception(x, {"inception_4a", 192, 96, 208, 16, 48, 64});
  x = inception(x, {"inception_4b", 160, 112, 224, 24, 64, 64});
  x = inception(x, {"inception_4c", 128, 128, 256, 24, 64, 64});
  x = inception(x, {"inception_4d", 112, 144, 288, 32, 64, 64});
  x = inception(x, {"inception_4e", 256, 160, 320, 32, 128, 128});
  x = halve(2, "pool_4")(x);
  x = inception(x, {"inception_5a", 256, 160, 320, 32, 128, 128});
  x = inception(x, {"inception_5b", 384, 192, 384, 48, 128, 128});
  return classifier("googlenet", x, classes, 0.2F);
}

}  // namespace lockstep
