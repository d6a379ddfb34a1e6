// Periods of time, in UTC as usage is kept.

export const PERIODS = [
  ["1", "24 hours"], ["7", "7 days"], ["30", "30 days"], ["90", "90 days"], ["month", "This month"], ["before", "Last month"],
];

const HOUR = 3600 * 1000;
const DAY = 24 * HOUR;

/** A period as it is now: `{from, to, by}`; `by` is what its steps are, `day` or `hour`. */
export function spanOf(period, now) {
  const month = (back) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1));
  if (period === "month") return { from: month(0), to: now, by: "day" };
  if (period === "before") return { from: month(1), to: month(0), by: "day" };
  const by = period === "1" ? "hour" : "day";
  const step = by === "hour" ? HOUR : DAY;
  const end = Math.floor(now.getTime() / step) * step + step;
  return { from: new Date(end - (by === "hour" ? 24 : Number(period)) * step), to: now, by };
}

/** A row for each step of a period, with noughts where nothing was used: `{label, long, used, …figures}`. */
export function steps({ from, to, by }, rows, names) {
  const known = new Map(rows.map((row) => [Date.parse(row[by]), row]));
  const step = by === "hour" ? HOUR : DAY;
  const none = Object.fromEntries(names.map((name) => [name, 0]));
  const found = [];
  for (let time = from.getTime(); time < to.getTime(); time += step) {
    const moment = new Date(time);
    const day = moment.toLocaleDateString("en", { day: "numeric", month: "short", timeZone: "UTC" });
    const hour = `${String(moment.getUTCHours()).padStart(2, "0")}:00`;
    const row = known.get(time);
    found.push({ ...none, ...row, used: Boolean(row), label: by === "hour" ? hour : day, long: by === "hour" ? `${day}, ${hour}` : day });
  }
  return found;
}
