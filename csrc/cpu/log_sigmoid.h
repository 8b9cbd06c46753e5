// ln sigma(z) = min(z, 0) - ln(1 + exp(-|z|)), the second term from 16 polynomials of degree 5.
//
// With v = 1 + |z| / kLogSigmoidScale the pieces are the quarters of the octaves of v in [1, 16): a float's two lowest
// exponent bits and two highest mantissa bits name the piece, its other mantissa bits the place r within it. No
// exponential, logarithm or division; the worst error is 2.2e-8 before rounding, and 1.2e-7 max(1, |ln sigma|) in
// float32. It is absolute: ln sigma(10) = -4.5e-5 keeps four digits, which is as good, for it is only ever added to.
// Interpolated at Chebyshev nodes.
#pragma once

namespace vanfast::cpu {

constexpr float kLogSigmoidScale = 1.25f;
constexpr float kLogSigmoidEnd = 18.7f;  // |z| is cut here: v stays below 16
// Coefficient of r^d in row d; column: the four bits.
alignas(64) constexpr float kLogSigmoid[6][16] = {
    {-0.251929075f, -0.142675057f, -0.078889735f, -0.0429990776f, -0.0232454427f, -0.00671533961f, -0.00192859035f,
     -0.000552930636f, -0.000158439318f, -1.30064354e-05f, -1.06763957e-06f, -8.76372397e-08f, -0.693147182f,
     -0.549054861f, -0.428700686f, -0.330458194f},
    {0.278375864f, 0.166205719f, 0.094822824f, 0.0526096299f, 0.0287201796f, 0.00836541224f, 0.00240821252f,
     0.000690912711f, 0.000197703004f, 1.62307624e-05f, 1.33231765e-06f, 1.09363405e-07f, 0.62499994f, 0.52813077f,
     0.435806423f, 0.35175702f},
    {-0.135254219f, -0.0900760219f, -0.0547708794f, -0.0314964391f, -0.0175206326f, -0.0051861098f, -0.0014999283f,
     -0.00043090299f, -0.000121704012f, -9.99270196e-06f, -8.2026861e-07f, -6.73318681e-08f, -0.195310459f,
     -0.190619349f, -0.177415118f, -0.157982215f},
    {0.0313884318f, 0.027633328f, 0.0193790626f, 0.0120133404f, 0.00689463085f, 0.00210154452f, 0.000612908683f,
     0.00017649919f, 4.69002225e-05f, 3.85147314e-06f, 3.16159401e-07f, 2.59520192e-08f, -3.49114598e-05f,
     0.0122870794f, 0.0223720446f, 0.0287879072f},
    {0.000154263253f, -0.00395696936f, -0.00422036368f, -0.00308900885f, -0.00182498049f, -0.000581613043f,
     -0.000171721869f, -4.96231696e-05f, -1.10861856e-05f, -9.10574329e-07f, -7.47483e-08f, -6.13573992e-09f,
     0.0129864989f, 0.0116991047f, 0.00842091162f, 0.0043168487f},
    {-0.00171352772f, -0.000172279135f, 0.000427301304f, 0.000457798684f, 0.000260918547f, 8.7519802e-05f,
     2.61902369e-05f, 7.59684326e-06f, 1.21956066e-06f, 1.00186362e-07f, 8.22432789e-09f, 6.75097533e-10f,
     -0.000972819747f, -0.00254308619f, -0.00322101708f, -0.00298451772f},
};

}  // namespace vanfast::cpu
