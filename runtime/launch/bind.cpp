// Addresses into the parameters of a plan, by the kind of these.
#include "runtime/launch/bind.h"

#include "runtime/families/families.h"

namespace flashtune {

AnyParams bind(const Plan& plan, const Tensors& tensors, DevicePtr workspace, const Device& device) {
  AnyParams any = plan.params;
  Tensors seen = tensors;
  seen.k += plan.k_skipped, seen.v += plan.v_skipped;
  std::visit([&](auto& params) { bind_family(params, plan, seen, workspace, device); }, any);
  return any;
}

}  // namespace flashtune
