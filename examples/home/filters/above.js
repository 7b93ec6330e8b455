// Numbers above a limit: filter=@above&limit=20, and those of one unit only with &unit=°C.
export default (e, params) => e.number > params.limit && (params.unit === undefined || e.unit === params.unit);
