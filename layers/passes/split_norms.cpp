#include "layers/passes/split_norms.h"

#include "layers/normalization/batch_norm.h"

namespace lockstep {

void split_norms(Graph& graph, const std::function<ImageParts(const std::string& node)>& parts) {
  Graph out = graph.without_nodes();
  for (const Node& original : graph.nodes()) {
    Node node = original;
    const auto* norm = dynamic_cast<const BatchNormOp*>(node.op.get());
    const ImageParts cut = norm ? parts(node.name) : ImageParts{};
    const Shape x = norm ? graph.type(node.in[0]).shape : Shape{};
    if (cut != ImageParts{} && x.rank() == 4 && x[1] >= cut.rows && x[2] >= cut.columns) {
      out.set_section(node.section);
      const Value moments =
          out.add1(node.name + "/moments", std::make_shared<BatchNormMomentsOp>(cut), {node.in[0], node.in[3]});
      node.in.insert(node.in.begin() + 4, moments);
      node.op = std::make_shared<BatchNormApplyOp>(norm->epsilon, norm->relu, norm->add, x[1], x[2]);
    }
    out.append(std::move(node));
  }
  out.set_section(graph.section());
  graph = std::move(out);
}

}  // namespace lockstep
