// Formats statuses, durations and times for people.

const STATUSES = {
  starting: "Starting",
  processing: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  canceled: "Canceled",
  aborted: "Aborted",
};

export function words(status) {
  return STATUSES[status] ?? status;
}

export function seconds(span) {
  if (span === undefined || span === null) return "";
  if (span < 1) return `${Math.round(span * 1000)} ms`;
  if (span < 60) return `${span.toFixed(1)} s`;
  return `${Math.floor(span / 60)} min ${Math.floor(span % 60)} s`;
}

export function when(moment) {
  const at = new Date(moment);
  const today = at.toDateString() === new Date().toDateString();
  const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return today ? clock : `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${clock}`;
}
