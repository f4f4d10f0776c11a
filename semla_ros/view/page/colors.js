// One colour per adapter, in the order in which adapters appear.

const GOLDEN_ANGLE = 137.5;  // degrees: neighbours in the order have very different hues
const seen = new Map();

export function colorOf(name) {
  if (!seen.has(name)) seen.set(name, `hsl(${(214 + GOLDEN_ANGLE * seen.size) % 360} 50% ${seen.size % 2 ? 60 : 52}%)`);
  return seen.get(name);
}

export const plain = (name) => name.replaceAll("_", " ");
