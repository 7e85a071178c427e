// Quotes a ride with the client that openapi-generator generated: main address
package main

import (
	"context"
	"fmt"
	"os"

	rides "rides/client"
)

func main() {
	configuration := rides.NewConfiguration()
	configuration.Servers = rides.ServerConfigurations{{URL: os.Args[1]}}
	client := rides.NewAPIClient(configuration).DefaultAPI
	background := context.Background()

	bare := rides.NewBareRide(130, 205, 3.66)
	bare.SetPickupDatetimeNil()
	quote, _, err := client.Predict(background).RideRequest(rides.RideRequest{BareRide: bare}).Execute()
	exitOn(err)

	number := int64(256)
	wrapped := rides.NewWrappedRide(*rides.NewRide(130, 205, 3.66))
	wrapped.SetRideId(rides.BareRideRideId{Int64: &number})
	invalid := rides.NewBareRide(130, 0, 3.66)
	outcomes, _, err := client.PredictBatch(background).RideRequest(
		[]rides.RideRequest{{WrappedRide: wrapped}, {BareRide: invalid}}).Execute()
	exitOn(err)
	if len(outcomes) != 2 || outcomes[0].Quote.GetDuration() != quote.GetDuration() ||
		outcomes[1].Problem.GetField() != "DOLocationID" {
		fmt.Fprintln(os.Stderr, "unexpected outcomes")
		os.Exit(1)
	}
	fmt.Println(quote.GetDuration())
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
