// The gradient of the consumer's operator, by finite differences.
#include <cstdio>
#include <lockstep/testing/op_check.h>

#include "softsign.h"

int main() {
  register_softsign();
  const std::string fault = lockstep::test::gradient_fault(std::make_shared<SoftsignOp>(),
                                                           {lockstep::test::uniform({2, 3, 4}, 1, 0.1F, 2)}, {0});
  std::puts(fault.empty() ? "the gradient is right" : fault.c_str());
  return fault.empty() ? 0 : 1;
}
