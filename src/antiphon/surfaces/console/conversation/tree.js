// A conversation is a tree: a turn knows its `parent`, and `next`, the one below it that was shown last. What is shown is
// one way through it. Turns that stand at the same place are versions of each other.

/** Make these turns, in order, the way that is shown; those that are new join `all`. */
export function show(all, turns) {
  turns.forEach((turn, at) => {
    turn.parent ??= turns[at - 1]?.id ?? null;
    turn.next = turns[at + 1]?.id ?? null;
    if (!all.includes(turn)) all.push(turn);
  });
}

/** The way from the first turn through `first` that was shown last. */
export function shown(all, first) {
  const byId = new Map(all.map((turn) => [turn.id, turn]));
  const way = [];
  for (let turn = byId.get(first); turn && !way.includes(turn); turn = byId.get(turn.next)) way.push(turn);
  return way;
}

/** The versions of a turn, itself among them, the oldest first. */
export const versions = (all, turn) => all.filter((each) => each.parent === turn.parent);

/** The way through this version of a turn of the way `turns`. */
export function through(all, turns, version) {
  const at = version.parent === null ? 0 : turns.findIndex((turn) => turn.id === version.parent) + 1;
  return [...turns.slice(0, at), ...shown(all, version.id)];
}

/** All turns but this one and what is below it. */
export function without(all, turn) {
  const gone = new Set([turn.id]);
  // A turn always stands behind its parent.
  for (const each of all) if (gone.has(each.parent)) gone.add(each.id);
  return all.filter((each) => !gone.has(each.id));
}
