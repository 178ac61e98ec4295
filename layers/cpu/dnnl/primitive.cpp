#include "layers/cpu/dnnl/primitive.h"

namespace lockstep::cpu {

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::memory::desc layout_of(const dnnl::memory::dims& dims, dnnl::memory::format_tag tag) {
  return {dims, dnnl::memory::data_type::f32, tag};
}

dnnl::memory::desc image_layout(const Shape& nhwc) {
  return layout_of({nhwc[0], nhwc[3], nhwc[1], nhwc[2]}, dnnl::memory::format_tag::nhwc);
}

dnnl::primitive_attr strict_attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_fpmath_mode(dnnl::fpmath_mode::strict);
  return attributes;
}

Primitive::Primitive(const dnnl::primitive& primitive, const std::vector<Argument>& arguments)
    : stream_(cpu_engine()), primitive_(primitive) {
  for (const Argument& argument : arguments) memories_.emplace_back(argument.layout, cpu_engine(), nullptr);
  for (size_t i = 0; i < arguments.size(); ++i) arguments_.push_back({arguments[i].name, memories_[i].get()});
}

Primitive Primitive::reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
  if (from == to) return {};
  const dnnl::reorder::primitive_desc desc(cpu_engine(), from, cpu_engine(), to, strict_attributes());
  return {dnnl::reorder(desc),
          {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}}};
}

void Primitive::run(std::initializer_list<const void*> addresses) {
  size_t i = 0;
  for (const void* address : addresses) memories_[i++].set_data_handle(const_cast<void*>(address));
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()), arguments_.data()),
      "cannot run a oneDNN primitive");
}

}  // namespace lockstep::cpu
