// One colour per adapter, in the order in which adapters appear.

const COLORS = [
  "#4f7fd6", "#e0873a", "#3fa27a", "#b565c9", "#d6577b", "#a08545", "#35a3b5", "#93a83a", "#7a6fd0", "#c75d4a",
];
const seen = new Map();

export function colorOf(name) {
  if (!seen.has(name)) seen.set(name, COLORS[seen.size % COLORS.length]);
  return seen.get(name);
}

export const plain = (name) => name.replaceAll("_", " ");
